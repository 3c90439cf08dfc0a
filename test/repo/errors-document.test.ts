/** docs/errors.md and the table of codes, compared both ways. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorCodes } from '../../src/errors.js';

const document = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
const row = /^\| `(?<code>[A-Z_]+)` +\| (?<exit>\d+) +\| (?<meaning>.*?) +\| (?<remedy>.*?) +\|$/gm;
const documented = new Map(
  [...document.matchAll(row)].map(({ groups = {} }) => [groups['code'] ?? '', groups]),
);

test('each code is documented as it is', () => {
  for (const [code, { exit, meaning, remedy }] of Object.entries(errorCodes)) {
    const found = documented.get(code);
    assert.ok(found !== undefined, `docs/errors.md has no ${code}`);
    assert.deepEqual(
      [found['exit'], found['meaning'], found['remedy']],
      [String(exit), meaning, remedy].map((text) => text.replaceAll('<', '\\<').replaceAll('|', '\\|')),
    );
  }
});

test('nothing is documented that is not there', () => {
  assert.deepEqual([...documented.keys()].toSorted(), Object.keys(errorCodes).toSorted());
});

/** The files that holds of the API are taken from again when nobody is left to keep them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { HoldFiles } from '../../../src/daemon/api/hold-files.js';
import { privateFolder } from '../../beds/private-folder.js';

const folder = privateFolder();
let count = 0;
const newDirectory = (): string => join(folder, `files-${++count}`);
const [one, two] = ['0123456789ab', 'ba9876543210'];

test('the last version of each hold is read again, by whoever comes next', () => {
  const directory = newDirectory();
  const files = new HoldFiles(directory);
  files.removeBefore(one, files.write(one, 'first'));
  const second = files.write(one, 'second');
  files.write(two, 'other');
  assert.deepEqual(new HoldFiles(directory).readAll().toSorted(), ['other', 'second']);
  files.removeBefore(one, second);
  assert.equal(readdirSync(directory).length, 2);
  const next = new HoldFiles(directory);
  assert.equal(next.read(second), 'second');
  next.remove(two);
  assert.deepEqual(next.readAll(), ['second']);
  next.removeAllBut(new Set());
  assert.deepEqual(readdirSync(directory), []);
  assert.equal(next.read('../../etc/passwd'), undefined);
});

test('what was not written to its end does not count: the version before it does', () => {
  const text = JSON.stringify({ what: 'ü'.repeat(20) });
  fc.assert(
    fc.property(fc.nat(200), fc.boolean(), (at, isFlipped) => {
      const directory = newDirectory();
      const files = new HoldFiles(directory);
      files.write(one, 'before');
      const path = join(directory, files.write(one, text));
      const bytes = readFileSync(path);
      const where = at % bytes.length;
      if (isFlipped) {
        bytes[where] = (bytes[where] ?? 0) ^ 1;
        writeFileSync(path, bytes);
      } else truncateSync(path, where);
      writeFileSync(`${path}.new`, 'torn');
      const next = new HoldFiles(directory);
      assert.deepEqual(next.readAll(), ['before']);
      next.removeAllBut(new Set([one]));
      assert.ok(readdirSync(directory).every((name) => name.endsWith('.json')));
    }),
    { numRuns: 60 },
  );
});

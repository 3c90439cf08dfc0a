/** docs/doctor.md and the table of findings, compared both ways. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { findingLevels, findings } from '../../src/doctor/finding-table.js';

const document = readFileSync(new URL('../../docs/doctor.md', import.meta.url), 'utf8');
const headings = ['Problems', 'Warnings', 'Notes', 'What is as it should be'];

/** The rows below each level's heading: id, what, why, remedy. */
function documented(): Map<string, string[]> {
  const rows = new Map<string, string[]>();
  findingLevels.forEach((level, index) => {
    const part = document.split(`## ${headings[index]}\n`)[1]?.split('\n## ')[0] ?? '';
    for (const line of part.split('\n')) {
      const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
      const id = /^`([a-z0-9-]+)`$/.exec(cells[1] ?? '')?.[1];
      if (id !== undefined) rows.set(id, [level, ...cells.slice(2, -1)]);
    }
  });
  return rows;
}

const rows = documented();

test('each finding is documented as it is, under its level', () => {
  for (const [id, { level, what, why, remedy }] of Object.entries(findings)) {
    const texts = [what, why, ...(level === 'fine' ? [] : [remedy])];
    const cells = texts.map((text) => text.replaceAll('|', '\\|').replaceAll('<', '\\<'));
    assert.deepEqual(rows.get(id), [level, ...cells], id);
  }
});

test('nothing is documented that is not there', () => {
  assert.deepEqual([...rows.keys()].toSorted(), Object.keys(findings).toSorted());
});

test('each finding is made somewhere, and what is to be mended has a remedy', () => {
  const folder = new URL('../../src/doctor/', import.meta.url);
  const code = readdirSync(folder)
    .filter((file) => file.startsWith('check-') || file === 'run-checks.ts')
    .map((file) => readFileSync(new URL(file, folder), 'utf8'))
    .join('\n');
  for (const [id, { level, remedy }] of Object.entries(findings)) {
    assert.ok(code.includes(`'${id}'`), id);
    if (level !== 'fine') assert.notEqual(remedy, '', id);
  }
});

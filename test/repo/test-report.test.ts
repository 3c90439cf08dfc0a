/** The closing line of `npm test`, which people and machines rely on. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { privateFolder } from '../beds/private-folder.js';

const reporter = fileURLToPath(new URL('../../scripts/test-report.mjs', import.meta.url));
const needs = new URL('../needs.ts', import.meta.url).href;
const folder = privateFolder();

function report(code: string, env: NodeJS.ProcessEnv = {}): { status: number | null; lines: string[] } {
  const file = join(folder, 'some.test.mts');
  writeFileSync(file, code);
  // A test runner inside a test runner has to be told that it is not a child of it.
  const { NODE_TEST_CONTEXT: _, ...own } = process.env;
  const args = [
    '--import',
    'tsx',
    '--test',
    `--test-reporter=${reporter}`,
    '--test-reporter-destination=stdout',
    file,
  ];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...own, ...env } });
  return { status, lines: stdout.trimEnd().split('\n') };
}

test('tests are counted, not files or suites; skips have their reasons; a failure is one', () => {
  const { status, lines } = report(`
    import { describe, test } from 'node:test';
    test('good', () => {});
    test('skipped', (t) => t.skip('no moon'));
    describe('skipped suite', { skip: 'no sun' }, () => test('unseen', () => {}));
    describe('suite', () => {
      test('inside', () => {});
      test('bad', () => { throw new Error('so bad'); });
    });
  `);
  assert.equal(lines.at(-1), '2 passed, 1 failed, 2 skipped');
  assert.notEqual(status, 0);
  assert.ok(lines.some((line) => line.endsWith('skipped: no moon')));
  assert.ok(lines.some((line) => line.endsWith('skipped suite: no sun')));
  assert.ok(lines.some((line) => line.includes('so bad')));
});

test('all is well, and a file that breaks is not', () => {
  const good = report(`import { test } from 'node:test'; test('good', () => {});`);
  assert.deepEqual([good.status, good.lines.at(-1)], [0, '1 passed, 0 failed, 0 skipped']);
  const broken = report(`throw new Error('at the top');`);
  assert.notEqual(broken.status, 0);
  assert.match(broken.lines.at(-1) ?? '', /^0 passed, 1 failed/);
});

test('of several files the ten that took the longest are named', async () => {
  const files = Array.from({ length: 12 }, (_, index) => ({
    type: 'test:complete',
    data: {
      // Node 20 gives the path, the later ones the word that they were called with.
      name: index < 6 ? `test/some-${index}.test.ts` : resolve(`test/some-${index}.test.ts`),
      file: resolve(`test/some-${index}.test.ts`),
      nesting: 0,
      details: { duration_ms: index * 1000 },
    },
  }));
  const { default: reportOf } = (await import(reporter)) as {
    default: (source: Iterable<unknown>) => AsyncGenerator<string>;
  };
  const exitCode = process.exitCode;
  let text = '';
  for await (const part of reportOf(files)) text += part;
  // It had no test.
  process.exitCode = exitCode;
  const lines = text.split('\n');
  const start = lines.indexOf('Slowest files:');
  assert.deepEqual(lines.slice(start + 1, start + 12), [
    ...[11, 10, 9, 8, 7, 6, 5, 4, 3, 2].map((index) => `  ${index}.0 s test/some-${index}.test.ts`),
    '',
  ]);
});

test('what is missing is skipped with its reason, and fails with HOLDFAST_NO_SKIP=1', () => {
  const code = `
    import { test } from 'node:test';
    import { needs } from '${needs}';
    test('with QEMU', (t) => { if (!needs(t, 'qemu')) return; });
  `;
  const path = { PATH: folder };
  // Programs in /usr/sbin are found whatever PATH is, so QEMU is asked for: it is in /usr/bin.
  const skipped = report(code, { ...path, HOLDFAST_NO_SKIP: '0' });
  assert.equal(skipped.lines.at(-1), '0 passed, 0 failed, 1 skipped');
  assert.ok(skipped.lines.some((line) => line.includes('qemu-system-x86_64 is not installed')));
  const failed = report(code, { ...path, HOLDFAST_NO_SKIP: '1' });
  assert.equal(failed.lines.at(-1), '0 passed, 1 failed, 0 skipped');
});

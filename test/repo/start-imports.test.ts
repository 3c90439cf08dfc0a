/** What every `holdfast run` loads, whatever it locks: a command that only needs more now and then imports that then. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** As scripts/build.mjs has it: what these import, not by `import()`, is the first of its files. */
const entries = /const neededAtStart = \[(?<list>[^\]]*)\]/.exec(
  readFileSync(join(root, 'scripts/build.mjs'), 'utf8'),
);

function staticImports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const statements = text.matchAll(/^(?:import|export)\s(?!type\b)[^;]*?from '(?<name>\.[^']+)';/gms);
  return (
    [...statements]
      // `import { type A, type B } from` leaves nothing behind.
      .filter(([statement]) => !/^import \{(?:\s*type [^,}]+,?)+\s*\}/.test(statement))
      .map(({ groups }) => normalize(join(dirname(file), groups?.['name'] ?? '')).replace(/\.js$/, '.ts'))
  );
}

function loadedAtStart(): string[] {
  const loaded = new Set<string>();
  const queue = [...(entries?.groups?.['list'] ?? '').matchAll(/'([^']+)'/g)].map(([, file = '']) => file);
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (loaded.has(file)) continue;
    loaded.add(file);
    // The public surface is a list of names, and the bundle takes those that are used.
    if (file !== 'src/index.ts') queue.push(...staticImports(file));
    else queue.push('src/manager/open-manager.ts', 'src/manager/run-in-place.ts', 'src/manager/supervise.ts');
  }
  return [...loaded].toSorted();
}

/** What looks for who is in the way, follows chains, reads XML and configuration, and all other commands. */
const notAtStart = [
  /^src\/holders\/(?!is-written|unseen-writers)/,
  /^src\/(?:daemon|doctor|protocol|rfc2010)\//,
  /^src\/drivers\/(?!fcntl\/)/,
  /^src\/input\/(?:xml-|read-)/,
  /^src\/plan\/(?:plan-chain|qcow2-header|qemu-img-info)/,
  /^src\/manager\/(?:check-plan|configuration-file|explain-refusal|list-holds|supervision|who|watch-holders)/,
  /^src\/cli\/render-/,
];

test('a run of a free disk loads nothing that it does not need', () => {
  const loaded = loadedAtStart();
  assert.ok(loaded.includes('src/system/ofd-lock.ts'));
  assert.deepEqual(
    loaded.filter((file) => notAtStart.some((pattern) => pattern.test(file))),
    [],
  );
});

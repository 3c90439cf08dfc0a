/** The layers of the project, held by a test: who may import whom. ARCHITECTURE.md tells why. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const src = fileURLToPath(new URL('../../src', import.meta.url));

/** Files at the top that everyone may import: words, errors, and pure functions on text. */
const words = ['vocabulary', 'errors', 'duration', 'nearest-word', 'printable'];
const foundation = [...words, 'system', 'protocol'];

/** By the first part of a path below src/: what it may import besides itself. Longest prefix wins. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  vocabulary: [],
  errors: ['vocabulary'],
  duration: [],
  'nearest-word': [],
  printable: [],
  version: [],
  system: words,
  protocol: words,
  input: foundation,
  plan: foundation,
  holders: foundation,
  driver: foundation,
  'driver/discovery': [...foundation, 'drivers'],
  'daemon-client': foundation,
  guard: foundation,
  drivers: [...foundation, 'driver/contract'],
  'drivers/holdfastd': [...foundation, 'driver/contract', 'daemon-client'],
  manager: [...foundation, 'input', 'plan', 'holders', 'driver', 'daemon-client', 'guard'],
  killpath: [...foundation, 'guard', 'holders', 'drivers/sanlock/client-library', 'manager/qmp-monitor'],
  doctor: [...foundation, 'input', 'plan', 'holders', 'manager'],
  index: [...foundation, 'input', 'plan', 'holders', 'driver', 'daemon-client', 'guard', 'manager', 'doctor'],
  rfc2010: ['index', ...words, 'driver/contract'],
  daemon: ['index', 'version', 'guard', 'driver/contract', ...foundation],
  cli: ['index', 'version', ...words],
};

const importPattern = /(?:from\s+|import\s+|import\()\s*'(?<name>[^']+)'/g;

interface Import {
  readonly file: string;
  readonly target: string;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(src, file), 'utf8');
  return [...text.matchAll(importPattern)]
    .map(({ groups }) => groups?.['name'] ?? '')
    .filter((name) => name.startsWith('.'))
    .map((name) => ({ file, target: normalize(join(dirname(file), name)).replace(/\.js$/, '') }));
}

function sourceFiles(): string[] {
  return readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
}

function isWithin(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}/`);
}

function ruleFor(file: string): readonly [string, readonly string[]] {
  const path = file.replace(/\.ts$/, '');
  const rules = Object.entries(allowed).filter(([prefix]) => isWithin(path, prefix));
  const longest = rules.toSorted(([a], [b]) => b.length - a.length)[0];
  assert.ok(longest !== undefined, `${file} belongs to no layer`);
  return longest;
}

/** What an import may not do, or undefined. */
function faultOf({ file, target }: Import): string | undefined {
  const [, may] = ruleFor(file);
  const folder = file.split('/')[0] ?? '';
  // A folder may use itself; a driver only its own folder, so that drivers share nothing.
  const own = folder === 'drivers' ? file.split('/').slice(0, 2).join('/') : folder.replace(/\.ts$/, '');
  if (isWithin(target, own) || may.some((prefix) => isWithin(target, prefix))) return undefined;
  return `${file} imports ${target}`;
}

test('imports go down the layers only', () => {
  const faults = sourceFiles()
    .flatMap(importsOf)
    .flatMap((one) => faultOf(one) ?? []);
  assert.deepEqual(faults, []);
});

test('the rule finds what it forbids', () => {
  const fault = (file: string, target: string): string | undefined => faultOf({ file, target });
  assert.ok(fault('plan/make-plan.ts', 'input/read-input'));
  assert.ok(fault('input/read-input.ts', 'plan/make-plan'));
  assert.ok(fault('manager/hold.ts', 'drivers/fcntl/fcntl'));
  assert.ok(fault('doctor/examine-host.ts', 'drivers/fcntl/fcntl'));
  assert.ok(fault('manager/hold.ts', 'doctor/examine-host'));
  assert.ok(fault('drivers/fcntl/fcntl.ts', 'drivers/nop/nop'));
  assert.ok(fault('drivers/fcntl/fcntl.ts', 'driver/discovery'));
  assert.ok(fault('cli/main.ts', 'manager/open-manager'));
  assert.ok(fault('driver/places.ts', 'drivers/nop/nop'));
  assert.ok(fault('system/host.ts', 'manager/hold'));
  assert.ok(fault('errors.ts', 'system/host'));
  assert.equal(fault('driver/discovery.ts', 'drivers/nop/nop'), undefined);
  assert.equal(fault('cli/commands/run.ts', 'index'), undefined);
});

test('discovery imports drivers only when they are asked for', () => {
  const text = readFileSync(join(src, 'driver/discovery.ts'), 'utf8');
  assert.doesNotMatch(text, /from '\.\.\/drivers\//);
  assert.match(text, /import\('\.\.\/drivers\//);
});

test('native calls and the reading of /proc and /sys stand in system/ alone', () => {
  const faults = sourceFiles()
    // The conformance suite is a test: it makes an owner of its own process.
    .filter((file) => !file.startsWith('system/') && file !== 'driver/conformance-bench.ts')
    .filter((file) => {
      const code = readFileSync(join(src, file), 'utf8')
        .split('\n')
        .filter((line) => !/^\s*(?:\*|\/\/|\/\*)/.test(line))
        .join('\n');
      return /from 'koffi'|require\('koffi'\)|import\('koffi'\)|(?:readFile|readdir|readlink|open|read)\w*\(\s*[`']\/(?:proc|sys)\b/.test(
        code,
      );
    });
  assert.deepEqual(faults, []);
});

/** The documents name all that the code has: configuration keys, options, members. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { configurationKeys } from '../../src/manager/configuration-file.js';

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
}

/** The names of an interface's or class's public members, from its source. */
function membersOf(source: string, declaration: string): string[] {
  const start = source.indexOf(`export ${declaration} {`);
  assert.notEqual(start, -1, declaration);
  const body = source.slice(start, source.indexOf('\n}\n', start));
  const member = /^ {2}(?:readonly |get |async )*(?<name>[a-z]\w*)(?=[?(:<])/gm;
  return [...body.matchAll(member)]
    .map(({ groups }) => groups?.['name'] ?? '')
    .filter((name) => name !== 'constructor');
}

function assertDocumented(document: string, names: readonly string[]): void {
  assert.ok(names.length > 0);
  const text = read(document);
  const missing = names.filter((name) => !new RegExp(`\`${name}\\b`).test(text));
  assert.deepEqual(missing, [], `${document} does not name them`);
}

test('docs/configuration.md has every key', () => {
  const text = read('docs/configuration.md');
  for (const key of configurationKeys)
    assert.match(text, new RegExp(`^(?:${key} = |\\[${key}[.\\]])`, 'm'), key);
});

test('docs/library.md has every option and member', () => {
  const manager = read('src/manager/open-manager.ts');
  const chosen = read('src/manager/chosen-drivers.ts');
  assertDocumented('docs/library.md', membersOf(chosen, 'interface ManagerOptions'));
  assertDocumented('docs/library.md', membersOf(manager, 'class Manager'));
  assertDocumented(
    'docs/library.md',
    membersOf(read('src/manager/lock-options.ts'), 'interface LockOptions'),
  );
  assertDocumented('docs/library.md', membersOf(read('src/manager/guest-input.ts'), 'interface GuestParts'));
  const hold = membersOf(read('src/manager/hold.ts'), 'class Hold');
  assertDocumented(
    'docs/library.md',
    hold.filter((name) => name !== 'whenEnded'),
  );
});

test('docs/library.md has every function of the public surface', () => {
  const exported = [...read('src/index.ts').matchAll(/^export \{(?<list>[^}]*)\}/gm)]
    .flatMap(({ groups }) => (groups?.['list'] ?? '').split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '' && !name.startsWith('type '));
  const elsewhere = ['defineDriver', 'errorCodes', 'HoldfastError', 'isHoldfastError', 'compatible', 'modes'];
  assertDocumented(
    'docs/library.md',
    exported.filter((name) => !elsewhere.includes(name)),
  );
});

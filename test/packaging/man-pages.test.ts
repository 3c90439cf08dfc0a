/** The manual pages that the build writes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commands } from '../../src/cli/command-table.js';
import { exitCodes } from '../../src/cli/exit-codes.js';
import { commandFolder, start } from '../beds/command.js';
import { needs } from '../needs.js';

commandFolder();
const folder = fileURLToPath(new URL('../../dist/man', import.meta.url));
const names = ['holdfast.1', 'holdfastd.8', 'holdfast.toml.5'];

/** As a reader sees it, without fonts and line ends. */
function read(name: string): string {
  return readFileSync(join(folder, name), 'utf8')
    .replaceAll(/\\f[BIR]/g, '')
    .replaceAll('\\-', '-')
    .replaceAll('\\(aq', "'")
    .replaceAll(/\s+/g, ' ');
}

test('mandoc finds nothing to say about them', async (t) => {
  if (!needs(t, 'mandoc')) return;
  const files = names.map((name) => join(folder, name));
  const { status, stdout } = await start('mandoc', ['-T', 'lint', '-W', 'style', ...files], { input: '' })
    .ended;
  assert.equal(stdout, '');
  assert.equal(status, 0);
});

test('holdfast(1) has every command, option and exit status', () => {
  const page = read('holdfast.1');
  for (const { name, options, summary } of commands) {
    const part = page.split(`.SS holdfast ${name} `)[1]?.split('.SS ')[0] ?? '';
    assert.ok(part.startsWith(summary), name);
    for (const option of options) assert.ok(part.includes(`--${option.name}`), `${name} --${option.name}`);
  }
  for (const [status] of exitCodes) assert.ok(page.includes(`.TP ${status} `), status);
});

test('holdfastd(8) has every option of the daemon', () => {
  const page = read('holdfastd.8');
  const serve = commands.find(({ name }) => name === 'serve');
  assert.ok(serve !== undefined);
  for (const { name } of serve.options) assert.ok(page.includes(`--${name}`), name);
});

test('holdfast.toml(5) has every key of the packaged configuration', () => {
  const page = read('holdfast.toml.5');
  const packaged = readFileSync(new URL('../../packaging/holdfast.toml', import.meta.url), 'utf8');
  const keys = [...packaged.matchAll(/^#(?<key>\[.*\]|\w+ = .*)$/gm)].map(
    ({ groups }) => groups?.['key'] ?? '',
  );
  assert.ok(keys.length > 10);
  for (const key of keys) assert.ok(page.includes(key), key);
});

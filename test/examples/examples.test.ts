/** What the README, the documents and examples/ show, run as they are. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { configurationKeys } from '../../src/manager/configuration-file.js';
import { readConfiguration } from '../../src/manager/configuration.js';
import { commandFolder, holdfast, start } from '../beds/command.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = commandFolder();

// The package, as a program that depends on it finds it.
mkdirSync(join(folder, 'node_modules'));
symlinkSync(root, join(folder, 'node_modules/holdfast'));
for (const name of ['a.img', 'b.img', 'web1.img', 'extra.img']) {
  writeFileSync(join(folder, name), `data of ${name}`);
}
writeFileSync(join(folder, 'web1.qcow2'), emptyQcow2());
writeFileSync(
  join(folder, 'web1.xml'),
  `<domain type='qemu'><name>web1</name><uuid>5f1c4b2a-7c35-4a0e-9a31-0d6b0f6e8a11</uuid><devices>
  <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${join(folder, 'web1.img')}'/>
  <target dev='vda'/></disk></devices></domain>`,
);

function codeBlocks(document: string, language: string): string[] {
  const text = readFileSync(join(root, document), 'utf8');
  return [...text.matchAll(/^```(?<language>\w*)\n(?<code>[\s\S]*?)^```$/gm)]
    .filter(({ groups }) => groups?.['language'] === language)
    .map(({ groups }) => groups?.['code'] ?? '');
}

/** The header of version 2 (QEMU: docs/interop/qcow2.txt), of an image of 64 KiB without a base. */
function emptyQcow2(): Buffer {
  const header = Buffer.alloc(65_536);
  header.write('QFI\xfb', 'latin1');
  header.writeUInt32BE(2, 4);
  header.writeUInt32BE(16, 20);
  header.writeBigUInt64BE(65_536n, 24);
  return header;
}

function runProgram(code: string): { status: number | null; stdout: string; stderr: string } {
  const file = join(folder, 'program.mjs');
  writeFileSync(file, code);
  return spawnSync(process.execPath, [file], { cwd: folder, encoding: 'utf8' });
}

/** An example, from a folder where the package is installed, as a user would have it. */
function example(name: string): string {
  const file = join(folder, name);
  copyFileSync(join(root, 'examples', name), file);
  return file;
}

test('the program in the README runs', () => {
  const [program = '', ...more] = codeBlocks('README.md', 'js');
  assert.equal(more.length, 0);
  assert.ok(program.trim().split('\n').length <= 11, 'it stays short');
  const { status, stderr } = runProgram(program);
  assert.equal(status, 0, stderr);
  assert.equal(readFileSync(join(folder, 'backup.img'), 'utf8'), 'data of web1.img');
});

test('the commands in the README exist and run', () => {
  const [setUp = '', install = '', commands = ''] = codeBlocks('README.md', 'sh');
  const { scripts, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
    version: string;
  };
  assert.deepEqual(new Set(install.match(/holdfast-[\d.]+\.tgz/g)), new Set([`holdfast-${version}.tgz`]));
  for (const [, script = ''] of setUp.matchAll(/^npm (\w+)/gm)) {
    const file = scripts[script]?.replace('node ', '');
    assert.ok(file !== undefined && existsSync(join(root, file)), `npm ${script}`);
  }
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  symlinkSync(holdfast, join(bin, 'holdfast'));
  // Not a guest that runs for ever.
  writeFileSync(join(bin, 'qemu-system-x86_64'), '#!/bin/sh\necho "started: $*"\n', { mode: 0o755 });
  const { status, stdout, stderr } = spawnSync('sh', ['-e', '-c', commands], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` },
  });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /started: -drive file=web1\.qcow2/);
  assert.match(stdout, /It would be granted now/);
  assert.deepEqual(readFileSync(join(folder, 'backup.qcow2')), emptyQcow2());
});

test('the program in docs/library.md runs', () => {
  const [program = ''] = codeBlocks('docs/library.md', 'js');
  const { stdout, stderr } = runProgram(program);
  // In the order of their identities, and so of the numbers that their inodes happen to have.
  assert.deepEqual([stdout.trim().split(', ').toSorted(), stderr], [['a.img exclusive', 'b.img read'], '']);
});

test('the configuration in docs/configuration.md is one', async () => {
  const [text = ''] = codeBlocks('docs/configuration.md', 'toml');
  const file = join(folder, 'holdfast.toml');
  writeFileSync(file, text, { mode: 0o600 });
  const configuration = await readConfiguration({ file });
  assert.equal(configuration.waitMs, 30_000);
  // It shows every key there is: each of them sets one property; the files it was read from are one more.
  assert.equal(Object.keys(configuration).length, configurationKeys.length + 1);
});

test('examples/copy-while-nobody-writes.mjs', () => {
  const args = [example('copy-while-nobody-writes.mjs'), 'a.img', 'copy.img'];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  assert.deepEqual([stdout, stderr], ['copied a.img to copy.img\n', '']);
  assert.equal(readFileSync(join(folder, 'copy.img'), 'utf8'), 'data of a.img');
});

test('without arguments an example says how it is used', () => {
  for (const name of ['copy-while-nobody-writes.mjs', 'who-is-in-the-way.mjs', 'start-a-guest.mjs']) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [example(name)], { encoding: 'utf8' });
    assert.deepEqual([status, stdout], [64, ''], name);
    assert.match(stderr, new RegExp(`^usage: node ${name} .*\n$`));
  }
});

test('examples/who-is-in-the-way.mjs', async () => {
  const args = [example('who-is-in-the-way.mjs'), 'web1.xml'];
  const ask = (): string => spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' }).stdout;
  assert.equal(ask(), 'nobody\n');
  const holding = start(holdfast, [
    'run',
    '--disk',
    join(folder, 'web1.img'),
    '--',
    'sh',
    '-c',
    'echo up; exec sleep 600',
  ]);
  await holding.says('up');
  assert.match(ask(), new RegExp(`^/.*/web1\\.img: .* \\(pid ${holding.pid}\\) since .*, through Holdfast`));
  holding.child.kill();
  await holding.ended;
});

test('examples/start-a-guest.mjs', () => {
  const args = [example('start-a-guest.mjs'), 'web1.xml', 'extra.img', 'sh', '-c', 'sleep 0.3; echo guest'];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  assert.equal(stderr, '');
  assert.match(stdout, /^held: .*extra\.img/m);
  assert.match(stdout, /^guest$/m);
});

test('examples/start-a-guest.mjs says what is missing', () => {
  const file = example('start-a-guest.mjs');
  const run = (...args: string[]): { status: number | null; stderr: string } =>
    spawnSync(process.execPath, [file, ...args], { cwd: folder, encoding: 'utf8' });
  const noCommand = run('web1.xml', 'extra.img', 'no-such-qemu');
  assert.deepEqual(
    [noCommand.status, noCommand.stderr],
    [127, 'there is no no-such-qemu: install it, or name another\n'],
  );
  const noXml = run('missing.xml', 'extra.img', 'true');
  assert.deepEqual(
    [noXml.status, noXml.stderr],
    [66, 'there is no missing.xml: install it, or name another\n'],
  );
});

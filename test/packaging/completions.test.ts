/** The completions in packaging/completions: they are of this table of commands, and complete. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commands } from '../../src/cli/command-table.js';
import { commandFolder, holdfast, start, type Ended } from '../beds/command.js';
import { needs } from '../needs.js';

const folder = commandFolder();
const root = fileURLToPath(new URL('../..', import.meta.url));
const packaged = join(root, 'packaging/completions');

const bin = join(folder, 'bin');
mkdirSync(bin);
for (const name of ['web 1.qcow2', 'web2.qcow2', 'other.img']) writeFileSync(join(folder, name), '');
mkdirSync(join(folder, 'webdir'));
// Guests of a libvirt that there is not.
writeFileSync(join(bin, 'virsh'), '#!/bin/sh\nprintf "web1\\nweb2\\nmail\\n"\n', { mode: 0o755 });
const env = { PATH: `${bin}:${join(holdfast, '..')}:${process.env['PATH']}` };

/** `words` are a command line as bash takes it apart; what it completes the last of them to. */
async function bash(...words: string[]): Promise<string[]> {
  const script = `. "$1" && shift && COMP_WORDS=("$@") && COMP_CWORD=$(($# - 1)) && _holdfast && printf '%s\\n' "\${COMPREPLY[@]}"`;
  const args = ['--norc', '-c', script, 'bash', join(packaged, 'bash/holdfast'), ...words];
  const { status, stdout, stderr } = await start('bash', args, { input: '', env, cwd: folder }).ended;
  assert.deepEqual([status, stderr], [0, '']);
  return [...new Set(stdout.split('\n').filter((line) => line !== ''))].toSorted();
}

test('they are what the script writes now', async () => {
  const fresh = join(folder, 'fresh');
  const script = join(root, 'scripts/write-completions.mjs');
  const { status, stderr } = await start(process.execPath, [script, fresh], { input: '' }).ended;
  assert.equal(status, 0, stderr);
  const names = readdirSync(packaged, { recursive: true, encoding: 'utf8' }).toSorted();
  assert.deepEqual(names, readdirSync(fresh, { recursive: true, encoding: 'utf8' }).toSorted());
  for (const name of names.filter((one) => one.includes('/'))) {
    const text = readFileSync(join(packaged, name), 'utf8');
    assert.equal(
      text,
      readFileSync(join(fresh, name), 'utf8'),
      `${name}: node scripts/write-completions.mjs`,
    );
  }
});

test('bash completes every command and every option', async () => {
  assert.deepEqual(await bash('holdfast', ''), commands.map(({ name }) => name).toSorted());
  assert.deepEqual(await bash('holdfast', 're'), ['release', 'resume']);
  for (const { name, options } of commands) {
    const long = (await bash('holdfast', name, '--')).toSorted();
    assert.deepEqual(long, options.map((option) => `--${option.name}`).toSorted(), name);
  }
  assert.deepEqual(await bash('holdfastd', '--so'), ['--socket-dir']);
  assert.deepEqual(await bash('holdfast', 'help', 'at'), ['attach']);
});

test('bash completes values: files, modes of a disk, choices, folders, guests, drivers', async () => {
  assert.deepEqual(await bash('holdfast', 'plan', '--disk', 'web'), ['web 1.qcow2', 'web2.qcow2', 'webdir']);
  assert.deepEqual(await bash('holdfast', 'plan', '--disk', '=', 'oth'), ['other.img']);
  assert.deepEqual(await bash('holdfast', 'plan', '--disk', 'other.img', ':', 're'), ['read']);
  assert.deepEqual(await bash('holdfast', 'run', '--qemu-lock', '=', 'h'), ['hold']);
  assert.deepEqual(await bash('holdfast', 'run', '--domain', 'web'), ['web1', 'web2']);
  assert.deepEqual(await bash('holdfast', 'run', '--driver', 'hold'), ['holdfastd']);
  assert.deepEqual(await bash('holdfastd', '--socket-dir', 'web'), ['webdir']);
  assert.deepEqual(await bash('holdfast', 'who', 'oth'), ['other.img']);
  assert.deepEqual(await bash('holdfast', 'list', ''), []);
});

test('bash completes a hold by its name', async () => {
  const holding = start(holdfast, [
    ...['run', '--name', 'web1', '--disk', join(folder, 'other.img'), '--'],
    ...['sh', '-c', 'echo up; exec sleep 600'],
  ]);
  await holding.says('up');
  assert.deepEqual(await bash('holdfast', 'release', 'w'), ['web1']);
  holding.child.kill();
  await holding.ended;
});

test('bash completes the command of run', async () => {
  assert.deepEqual(await bash('holdfast', 'run', '--disk', 'a', ''), ['--']);
  assert.ok((await bash('holdfast', 'run', '--', 'virs')).includes('virsh'));
  assert.deepEqual(await bash('holdfast', 'run', '--', 'cat', 'oth'), ['other.img']);
});

test('bash-completion finds them by the name of either command', async () => {
  const script = '. "$1" && complete -p holdfast holdfastd';
  const args = ['--norc', '-c', script, 'bash', join(packaged, 'bash/holdfastd')];
  const { stdout } = await start('bash', args, { input: '' }).ended;
  assert.equal(stdout, 'complete -F _holdfast holdfast\ncomplete -F _holdfast holdfastd\n');
});

async function shell(program: string, ...args: string[]): Promise<Ended> {
  return start(program, args, { input: '', env, cwd: folder }).ended;
}

test('zsh takes its file', async (t) => {
  if (!needs(t, 'zsh')) return;
  const { status, stderr } = await shell('zsh', '-n', join(packaged, 'zsh/_holdfast'));
  assert.deepEqual([status, stderr], [0, '']);
});

test('fish completes commands, options and values', async (t) => {
  if (!needs(t, 'fish')) return;
  const complete = async (line: string): Promise<string[]> => {
    const files = ['holdfast', 'holdfastd'].map((name) => `source ${packaged}/fish/${name}.fish`);
    const { status, stdout, stderr } = await shell(
      'fish',
      '-c',
      `${files.join('; ')}; complete -C '${line}'`,
    );
    assert.deepEqual([status, stderr], [0, ''], line);
    return stdout.split('\n').flatMap((found) => found.split('\t')[0] || []);
  };
  assert.deepEqual(await complete('holdfast pl'), ['plan']);
  assert.deepEqual(await complete('holdfast plan --di'), ['--disk']);
  assert.deepEqual((await complete('holdfast run --qemu-lock ')).toSorted(), ['check', 'hold', 'off']);
  assert.deepEqual((await complete('holdfast run --domain web')).toSorted(), ['web1', 'web2']);
  assert.deepEqual(await complete('holdfast who oth'), ['other.img']);
  assert.deepEqual(await complete('holdfastd --take'), ['--take-over']);
});

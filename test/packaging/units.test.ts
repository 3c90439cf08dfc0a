/** The units, as far as that can be told without a systemd that runs them. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandFolder, start } from '../beds/command.js';
import { holdfastdCommand } from '../beds/holdfastd.js';
import { LockClient } from '../beds/lock-client.js';
import { packagedUnits } from '../beds/systemd-host.js';
import { until } from '../beds/until.js';
import { needs } from '../needs.js';

const folder = commandFolder();
const names = ['holdfastd-api.socket', 'holdfastd.service', 'holdfastd.socket'];

function textOf(kind: 'system' | 'user', name: string): string {
  return readFileSync(join(packagedUnits, kind, name), 'utf8');
}

function setting(text: string, name: string): string[] {
  return [...text.matchAll(new RegExp(`^${name}=(?<value>.*)$`, 'gm'))].map(
    ({ groups }) => groups?.['value'] ?? '',
  );
}

for (const kind of ['system', 'user'] as const) {
  test(`systemd finds nothing wrong with the ${kind} units`, async (t) => {
    if (!needs(t, 'systemd')) return;
    assert.deepEqual(readdirSync(join(packagedUnits, kind)).toSorted(), names);
    const copies = join(folder, kind);
    mkdirSync(copies);
    const runtime = join(folder, `${kind}-runtime`);
    mkdirSync(runtime, { mode: 0o700 });
    for (const name of names) {
      // Installed it is where systemd looks for programs; here it is any program.
      const text = textOf(kind, name).replace(/^(Exec\w+)=holdfastd/gm, '$1=/bin/true');
      writeFileSync(join(copies, name), text);
    }
    const files = names.map((name) => join(copies, name));
    const args = ['verify', '--man=no', '--recursive-errors=no', `--${kind}`, ...files];
    const { status, stderr } = await start('systemd-analyze', args, {
      input: '',
      env: { XDG_RUNTIME_DIR: runtime },
    }).ended;
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });

  test(`the ${kind} units hand over the sockets by the names that the daemon knows`, async (t) => {
    if (!needs(t, 'systemd')) return;
    const place = join(folder, `${kind}-sockets`);
    mkdirSync(place, { mode: 0o700 });
    const sockets = ['holdfastd.socket', 'holdfastd-api.socket'].map((name) => {
      const [name_] = setting(textOf(kind, name), 'FileDescriptorName');
      return { name: name_ ?? '', path: join(place, `${name_}.sock`) };
    });
    const [program = '', ...words] = holdfastdCommand;
    const own = ['--lockd-socket', join(place, 'lockd.sock'), '--api-socket', join(place, 'api.sock')];
    const daemon = start('systemd-socket-activate', [
      ...sockets.flatMap(({ path }) => ['-l', path]),
      `--fdname=${sockets.map(({ name }) => name).join(':')}`,
      // It passes on only what it is told to.
      ...['PATH', 'HOLDFAST_RUNTIME_DIR', 'XDG_CONFIG_HOME'].map((name) => `--setenv=${name}`),
      program,
      ...words,
      ...own,
    ]);
    await until(() => sockets.every(({ path }) => existsSync(path)), daemon.stderr);
    const client = await LockClient.connect(join(place, 'lockd.sock'));
    await daemon.says('serving libvirt', 'stderr');
    client.close();
    daemon.child.kill('SIGTERM');
    assert.equal(await daemon.exited, 0, daemon.stderr);
  });
}

test('the sockets are where virtlockd and holdfastd have them, and for their owner alone', () => {
  const where = (kind: 'system' | 'user', name: string): string[] =>
    setting(textOf(kind, name), 'ListenStream');
  assert.deepEqual(where('system', 'holdfastd.socket'), ['/run/libvirt/virtlockd-sock']);
  assert.deepEqual(where('system', 'holdfastd-api.socket'), ['/run/holdfast/api.sock']);
  assert.deepEqual(where('user', 'holdfastd.socket'), ['%t/libvirt/virtlockd-sock']);
  assert.deepEqual(where('user', 'holdfastd-api.socket'), ['%t/holdfast/api.sock']);
  for (const kind of ['system', 'user'] as const) {
    for (const name of ['holdfastd.socket', 'holdfastd-api.socket'])
      assert.deepEqual(setting(textOf(kind, name), 'SocketMode'), ['0600']);
  }
});

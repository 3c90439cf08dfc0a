/** A daemon that is to be replaced by what is on disk now (SIGHUP) goes on where that could not serve. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiClient } from '../../beds/api-client.js';
import { commandFolder, start } from '../../beds/command.js';
import { holdfastdCommand } from '../../beds/holdfastd.js';

const folder = commandFolder();

interface Health {
  readonly status: string;
  readonly restarts: number;
}

test('a configuration that is wrong replaces nobody, and one that is sound does', async (t) => {
  const [program = '', ...words] = holdfastdCommand;
  const configuration = join(folder, 'holdfast.toml');
  writeFileSync(configuration, '');
  const running = start(program, [...words, '--config', configuration, '--socket-dir', folder], {
    env: { HOLDFAST_RUNTIME_DIR: join(folder, 'run') },
  });
  t.after(() => running.child.kill('SIGTERM'));
  await running.says('serving the API', 'stderr');
  const health = async (): Promise<Health> =>
    (await new ApiClient(join(folder, 'api.sock')).get('/v1/health')).data as Health;

  writeFileSync(configuration, 'drivers = ["no-such-driver"]\n');
  running.child.kill('SIGHUP');
  await running.says('the daemon is not replaced', 'stderr');
  assert.match(running.stderr, /no-such-driver/);
  assert.equal((await health()).restarts, 0);

  writeFileSync(configuration, '# sound\n');
  running.child.kill('SIGHUP');
  await running.says('the daemon ended', 'stderr');
  await running.says('"restarts":1', 'stderr');
  assert.equal((await health()).restarts, 1);
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 0);
});

test('a group that is gone when the daemon has to be started again is no reason to serve nobody', async (t) => {
  const [program = '', ...words] = holdfastdCommand;
  const own = join(folder, 'own');
  mkdirSync(own, { mode: 0o700 });
  const configuration = join(own, 'holdfast.toml');
  writeFileSync(configuration, '');
  const running = start(program, [...words, '--config', configuration, '--socket-dir', own], {
    env: { HOLDFAST_RUNTIME_DIR: join(own, 'run') },
  });
  t.after(() => running.child.kill('SIGTERM'));
  await running.says('serving the API', 'stderr');
  writeFileSync(configuration, '[daemon]\ngroup = "no-such-group"\n');
  const { pid } = (await new ApiClient(join(own, 'api.sock')).get('/v1/health')).data as { pid: number };
  process.kill(pid, 'SIGKILL');
  await running.says('there is no group no-such-group', 'stderr');
  await running.says('"restarts":1', 'stderr');
  const health = (await new ApiClient(join(own, 'api.sock')).get('/v1/health')).data as Health;
  assert.equal(health.status, 'ok');
});

test('a driver that cannot lock for libvirt is found before anything is started', async () => {
  const [program = '', ...words] = holdfastdCommand;
  const checked = await start(program, [...words, '--check', '--driver', 'sanlock'], { input: '' }).ended;
  assert.notEqual(checked.status, 0, checked.stdout);
  assert.match(checked.stderr, /sanlock/);
});

/** A daemon that is to be replaced by what is on disk now (SIGHUP) goes on where that could not serve. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { ApiClient } from '../../beds/api-client.js';
import { commandFolder, start, type Running } from '../../beds/command.js';
import { holdfastdCommand } from '../../beds/holdfastd.js';

const folder = commandFolder();

interface Health {
  readonly status: string;
  readonly pid: number;
  readonly restarts: number;
}

const [program = '', ...words] = holdfastdCommand;

interface Serving {
  readonly running: Running;
  readonly configuration: string;
  readonly health: () => Promise<Health>;
}

/** A daemon with a folder and a configuration of its own, when it serves. */
async function serve(t: TestContext, name: string): Promise<Serving> {
  const own = join(folder, name);
  mkdirSync(own, { mode: 0o700 });
  const configuration = join(own, 'holdfast.toml');
  writeFileSync(configuration, '');
  const running = start(program, [...words, '--config', configuration, '--socket-dir', own], {
    env: { HOLDFAST_RUNTIME_DIR: join(own, 'run') },
  });
  t.after(() => running.child.kill('SIGTERM'));
  await running.says('serving the API', 'stderr');
  const api = new ApiClient(join(own, 'api.sock'));
  return { running, configuration, health: async () => (await api.get('/v1/health')).data as Health };
}

test('a configuration that is wrong replaces nobody, and one that is sound does', async (t) => {
  const { running, configuration, health } = await serve(t, 'wrong');

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
  const { running, configuration, health } = await serve(t, 'group');
  writeFileSync(configuration, '[daemon]\ngroup = "no-such-group"\n');
  const { pid } = await health();
  process.kill(pid, 'SIGKILL');
  await running.says('there is no group no-such-group', 'stderr');
  await running.says('"restarts":1', 'stderr');
  assert.equal((await health()).status, 'ok');
});

test('a driver that cannot lock for libvirt is found before anything is started', async () => {
  const checked = await start(program, [...words, '--check', '--driver', 'sanlock'], { input: '' }).ended;
  assert.equal(checked.status, 69, checked.stdout);
  assert.match(checked.stderr, /driver sanlock cannot lock for libvirt/);
});

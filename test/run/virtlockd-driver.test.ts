/** `holdfast run --driver virtlockd` against a real virtlockd: who is kept out, and how long. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { call, commandFolder, holdfast, start, type Running } from '../beds/command.js';
import { end, rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { startVirtlockd, type Virtlockd } from '../beds/virtlockd.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const config = join(folder, 'holdfast.toml');
const settings = ['--config', config];
const through = [...settings, '--driver', 'virtlockd'];

describe('run through virtlockd', { skip: lacks('root', 'unshare', 'virtlockd') }, () => {
  let virtlockd: Virtlockd;
  before(async () => {
    virtlockd = await startVirtlockd(folder);
    writeFileSync(
      config,
      `[driver.virtlockd]\nsocket = "${virtlockd.socket}"\nqemu_lockd_conf = "/nonexistent"\n`,
    );
  });
  after(() => virtlockd.stop());

  const runSleeping = async (...asked: readonly string[]): Promise<Running> => {
    const running = start(holdfast, [
      'run',
      '-q',
      ...asked,
      '--',
      'sh',
      '-c',
      'echo started; exec sleep 1000',
    ]);
    await running.says('started');
    return running;
  };

  test('the command stands in the place of run, and keeps others out until it ends, whatever they lock through', async () => {
    const path = rawDisk(join(folder, 'disk'));
    const running = await runSleeping(...through, '--disk', path);
    for (const how of [through, settings]) {
      const refused = await call(['run', ...how, '--disk', path, '--', 'echo', 'ran']);
      assert.deepEqual([refused.status, refused.stdout], [75, '']);
      assert.match(refused.stderr, new RegExp(`^ {2}held by {3}\\w+ \\(pid ${running.pid},`, 'm'));
      assert.match(refused.stderr, /^ {2}through {3}Holdfast \(virtlockd\)$/m);
    }
    await end(running);
    await until(
      async () => (await call(['run', '-q', ...settings, '--disk', path, '--', 'true'])).status === 0,
      'the lock of a command that has ended',
    );
  });

  test('what fcntl holds is refused', async () => {
    const path = rawDisk(join(folder, 'reverse'));
    const running = await runSleeping(...settings, '--disk', path);
    const refused = await call(['run', ...through, '--disk', path, '--', 'echo', 'ran']);
    assert.deepEqual([refused.status, refused.stdout], [75, '']);
    assert.match(refused.stderr, new RegExp(`pid ${running.pid},`));
    await end(running);
  });

  test('nothing is left of a command that cannot be started', async () => {
    const path = rawDisk(join(folder, 'missing-command'));
    const failed = await call(['run', ...through, '--disk', path, '--', 'no-such-command']);
    assert.equal(failed.status, 127);
    const next = await call(['run', ...settings, '--disk', path, '--', 'echo', 'ran']);
    assert.deepEqual([next.status, next.stdout], [0, 'ran\n']);
  });

  test('a command that closes its descriptors is ended by virtlockd', async () => {
    const path = rawDisk(join(folder, 'closing'));
    const closing =
      'eval "$(for fd in /proc/self/fd/*; do echo "exec ${fd##*/}>&-"; done | grep -v "exec [012]>")"';
    const ended = await call([
      'run',
      '-q',
      ...through,
      '--disk',
      path,
      '--',
      'bash',
      '-c',
      `${closing}; sleep 60`,
    ]);
    assert.equal(ended.status, 128 + 15);
  });

  test('with a supervisor the loss of virtlockd ends the command', async () => {
    const other = await startVirtlockd(join(folder, 'mortal'));
    const own = join(folder, 'mortal.toml');
    writeFileSync(own, `[driver.virtlockd]\nsocket = "${other.socket}"\nqemu_lockd_conf = "/nonexistent"\n`);
    const path = rawDisk(join(folder, 'lost'));
    const asked = ['--config', own, '--driver', 'virtlockd', '--supervise', '--disk', path];
    const running = await runSleeping(...asked);
    await other.stop();
    const { status, stderr } = await running.ended;
    assert.equal(status, 74);
    assert.match(stderr, /closed the connection/);
    const refused = await call(['run', ...asked, '--', 'echo', 'ran']);
    assert.deepEqual([refused.status, refused.stdout], [69, '']);
    assert.match(refused.stderr, /virtlockd does not listen/);
  });
});

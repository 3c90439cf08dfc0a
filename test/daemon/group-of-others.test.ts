/** A user's own daemon with a configuration that was written for root's. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandFolder } from '../beds/command.js';
import { RunningDaemon } from '../beds/running-daemon.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const nobody = 65_534;

test(
  'a group that the user is not in is not let in, and the daemon serves',
  {
    skip: lacks('root', 'setpriv'),
  },
  async (t) => {
    chmodSync(folder, 0o755);
    const own = join(folder, 'own');
    for (const each of [own, join(own, 'sockets'), join(own, 'runtime')]) {
      mkdirSync(each, { mode: 0o700 });
      chownSync(each, nobody, nobody);
    }
    const daemon = await RunningDaemon.start(own, {
      before: [
        'setpriv',
        `--reuid=${nobody}`,
        `--regid=${nobody}`,
        '--clear-groups',
        '--inh-caps=-all',
        '--',
      ],
      args: ['--group=root'],
      env: { HOLDFAST_RUNTIME_DIR: join(own, 'runtime'), HOME: own },
    });
    t.after(() => daemon.stop());
    assert.match(daemon.keeper.stderr, /the group root is not let in/);
    assert.equal(statSync(daemon.apiSocket).mode & 0o777, 0o600);
  },
);

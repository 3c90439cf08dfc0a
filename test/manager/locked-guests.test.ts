/** Who has what libvirt has locked through the lock daemon, where systemd keeps its descriptors too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DaemonLock } from '../../src/daemon-client/daemon-answers.js';
import { isLockDaemon, withLockedGuests } from '../../src/manager/locked-guests.js';
import type { Holder } from '../../src/vocabulary.js';

const path = '/srv/web1.img';

const locker = (program: string, pid: number): Holder => ({
  program,
  pid,
  user: 'root',
  host: 'this host',
  mode: 'exclusive',
  refuses: ['exclusive', 'shared', 'read'],
  through: ['Holdfast'],
  evidence: [`/proc/${pid}/fd/3 -> ${path} (read-write)`],
  remedy: `stop it (pid ${pid}), or wait for it`,
});
const keeper = locker('holdfastd', 11);
const daemon = locker('holdfastd', 12);
const systemd = locker('systemd', 1);
const lock: DaemonLock = {
  lockspace: '',
  name: path,
  mode: 'exclusive',
  since: '2026-01-01T00:00:00Z',
  owners: [
    { name: 'web1', uuid: '4dea22b3-1d52-d8f3-2516-782e98ab3fa0', id: 1, pid: process.pid, startTime: 1 },
  ],
};

const shown = async (holders: readonly Holder[], locks: readonly DaemonLock[]): Promise<readonly Holder[]> =>
  withLockedGuests(holders, () => Promise.resolve(locks), isLockDaemon);

test('what systemd keeps for the daemon is the same lock', async () => {
  const found = await shown([systemd, daemon, keeper], [lock]);
  assert.deepEqual(
    found.map(({ guest, pid }) => [guest, pid]),
    [['web1', process.pid]],
  );
  assert.equal(found[0]?.evidence.length, 3);
});

test('a lock that is nobody of libvirt’s is the daemon’s, not systemd’s', async () => {
  const found = await shown([systemd, daemon, keeper], []);
  assert.deepEqual(
    found.map(({ pid }) => pid),
    [12],
  );
});

test('nobody is told to stop systemd while the daemon is started again', async () => {
  const [found, ...more] = await shown([systemd], []);
  assert.deepEqual([found?.program, more.length], ['systemd', 0]);
  assert.match(found?.remedy ?? '', /systemctl status/);
});

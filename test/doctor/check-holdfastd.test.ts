import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkHoldfastd } from '../../src/doctor/check-holdfastd.js';
import { checkLibvirt } from '../../src/doctor/check-libvirt.js';
import { privateFolder } from '../beds/private-folder.js';
import { ids, only, recordedHost, type Recorded } from './recorded-host.js';

const folder = privateFolder();
const keeper = {
  pid: 70,
  argv: ['/usr/bin/node', '/usr/lib/node_modules/holdfast/dist/daemon/holdfastd.js'],
};
const daemon = { ...keeper, pid: 71 };
const virtlockd = { pid: 80, argv: ['/usr/sbin/virtlockd'] };
const socket =
  'Num       RefCount Protocol Flags    Type St Inode Path\n' +
  '0000000000000000: 00000002 00000000 00010000 0001 01 23456 /run/libvirt/virtlockd-sock\n';
const lockd = { 'libvirt/qemu.conf': 'lock_manager = "lockd"\n' };

const found = (recorded: Recorded): string[] => ids(checkHoldfastd(recordedHost(folder, recorded)));

test('it runs or not, and a user sees the own one as well', () => {
  assert.deepEqual(found({}), ['holdfastd-absent']);
  assert.deepEqual(found({ processes: [keeper, daemon] }), ['holdfastd-running']);
  const linked = { pid: 70, argv: ['node', '/usr/local/bin/holdfastd'] };
  assert.deepEqual(found({ processes: [linked] }), ['holdfastd-running']);
  assert.deepEqual(found({ processes: [{ ...keeper, uid: 1000 }] }), ['holdfastd-absent']);
  assert.deepEqual(found({ processes: [{ ...keeper, uid: 1000 }], uid: 1000 }), ['holdfastd-running']);
  const other = { pid: 72, argv: ['vi', '/usr/local/bin/holdfastd-notes'] };
  assert.deepEqual(found({ processes: [other] }), ['holdfastd-absent']);
});

test('both at once, of one user', () => {
  assert.deepEqual(found({ processes: [keeper, virtlockd] }), ['holdfastd-running', 'lock-daemons-both']);
  assert.deepEqual(found({ processes: [virtlockd] }), ['holdfastd-absent']);
  assert.deepEqual(found({ processes: [keeper, { ...virtlockd, uid: 1000 }] }), ['holdfastd-running']);
});

test("who answers libvirt is named: holdfastd in virtlockd's place", () => {
  const recorded = { etc: lockd, proc: { 'net/unix': socket } };
  const whoAnswers = (more: Recorded): string =>
    only(checkLibvirt(recordedHost(folder, { ...recorded, ...more }), []), 'virtlockd-running').what;
  assert.match(whoAnswers({ processes: [keeper, daemon] }), /^holdfastd answers/);
  assert.match(whoAnswers({ processes: [keeper, virtlockd] }), /^virtlockd answers/);
  assert.match(whoAnswers({}), /^virtlockd answers/);
});

test('where holdfastd ran and nobody answers, it is the one to be started', () => {
  const runtime = join(folder, 'runtime');
  mkdirSync(runtime);
  const remedy = (): string | undefined =>
    only(
      checkLibvirt(recordedHost(folder, { etc: lockd, runtimeDirectory: runtime }), []),
      'virtlockd-not-running',
    ).remedy;
  assert.match(remedy() ?? '', /^Start it: systemctl enable --now virtlockd/);
  writeFileSync(join(runtime, 'lockd.journal'), '');
  assert.match(remedy() ?? '', /^Start holdfastd/);
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkGuests } from '../../src/doctor/check-guests.js';
import { tryLock } from '../../src/system/ofd-lock.js';
import { privateFolder } from '../beds/private-folder.js';
import { ids, only, recordedHost, type RecordedProcess } from './recorded-host.js';

const folder = privateFolder();
const image = join(folder, 'a.img');
writeFileSync(image, '');
const { ino } = statSync(image);

const lock = (bytes: string) => `OFDLCK ADVISORY  READ -1 08:01:${ino} ${bytes}`;
const qemuLocks = ['100 101', '103 103', '201 201', '203 203'].map(lock);

function qemu(pid: number, drive: string, fds: RecordedProcess['fds'], ...more: string[]): RecordedProcess {
  const argv = [
    '/usr/bin/qemu-system-x86_64',
    '-name',
    `guest=web${pid},debug-threads=on`,
    '-drive',
    drive,
    ...more,
  ];
  return { pid, argv, fds: fds ?? {} };
}

const found = (...processes: readonly RecordedProcess[]) => checkGuests(recordedHost(folder, { processes }));

test('no guest, and a guest with its locks', async () => {
  assert.deepEqual(ids(await found()), ['guests-locked']);
  const good = await found(qemu(5, `file=${image}`, { 9: { to: image, locks: qemuLocks } }));
  assert.deepEqual(ids(good), ['guests-locked']);
  assert.deepEqual(good[0]?.evidence, ['guest "web5" (pid 5)']);
});

test('an image open for writing under no lock', async () => {
  const bare = await found(qemu(5, `file=${image},file.locking=off`, { 9: { to: image } }));
  assert.deepEqual(ids(bare), ['guest-without-lock']);
  assert.equal(bare[0]?.subject, image);
  assert.match(bare[0]?.what ?? '', /^guest "web5" \(pid 5\) has it open for writing/);
  assert.deepEqual(bare[0]?.evidence, [`/proc/5/fd/9 -> ${image}`, 'its command line says locking=off']);
});

test('locking=off while somebody else has a lock on it: virtlockd, or Holdfast in the same process', async () => {
  const guest = qemu(5, `file=${image},file.locking=off`, { 9: { to: image } });
  const posix = `POSIX  ADVISORY  WRITE 77 08:01:${ino} 0 0`;
  const virtlockd = { pid: 77, argv: ['/usr/sbin/virtlockd'], fds: { 12: { to: image, locks: [posix] } } };
  const byDaemon = await found(guest, virtlockd);
  assert.deepEqual(ids(byDaemon), ['guest-locking-off']);
  assert.match(byDaemon[0]?.what ?? '', /another lock/);
  const inherited = { 9: { to: image }, 20: { to: image, locks: [lock('0 0')] } };
  assert.deepEqual(ids(await found({ ...guest, fds: inherited })), ['guest-locking-off']);
});

test("virtlockd's lock in a lockspace directory counts", async () => {
  const lockspace = join(folder, 'lockspace');
  mkdirSync(lockspace);
  const etc = { 'libvirt/qemu-lockd.conf': `file_lockspace_dir = "${lockspace}"\n`, 'libvirt/qemu.conf': '' };
  const processes = [qemu(5, `file=${image},file.locking=off`, { 9: { to: image } })];
  const file = join(lockspace, createHash('sha256').update(image).digest('hex'));
  writeFileSync(file, '');
  assert.deepEqual(ids(await checkGuests(recordedHost(folder, { etc, processes }))), ['guest-without-lock']);
  const fd = openSync(file, 'r+');
  try {
    assert.ok(tryLock(fd, 'write', 0));
    assert.deepEqual(ids(await checkGuests(recordedHost(folder, { etc, processes }))), ['guest-locking-off']);
  } finally {
    closeSync(fd);
  }
});

test('what is only read, or not open, is no finding', async () => {
  const reading = { 9: { to: image, flags: '02100000' } };
  assert.deepEqual(ids(await found(qemu(5, `file=${image},file.locking=off`, reading))), ['guests-locked']);
  assert.deepEqual(ids(await found(qemu(5, `file=${image},readonly=on,file.locking=off`, {}))), [
    'guests-locked',
  ]);
  assert.deepEqual(ids(await found(qemu(5, `file=${image}`, { 9: { to: image } }, '-snapshot'))), [
    'guests-locked',
  ]);
  assert.deepEqual(ids(await found(qemu(5, `file=${folder}/gone.img`, {}))), ['guests-locked']);
});

test('a guest that waits for a migration has no locks yet, and that is said', async () => {
  const guest = qemu(5, `file=${image}`, { 9: { to: image } }, '-incoming', 'defer');
  assert.match(only(await found(guest), 'guest-without-lock').evidence.join(), /-incoming/);
});

test('each of several guests; other programs are none', async () => {
  const good = qemu(5, `file=${image}`, { 9: { to: image, locks: qemuLocks } });
  const other = join(folder, 'b.img');
  writeFileSync(other, '');
  const bad = qemu(6, `file=${other}`, { 9: { to: other } });
  const vim = { pid: 7, argv: ['/usr/bin/vim', '-drive', `file=${other}`], fds: { 3: { to: other } } };
  const all = await found(good, bad, vim);
  assert.deepEqual(
    all.map(({ id, subject }) => [id, subject]),
    [['guest-without-lock', other]],
  );
});

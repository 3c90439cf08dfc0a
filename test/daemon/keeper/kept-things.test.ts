import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Channel } from '../../../src/daemon/keeper/channel.js';
import {
  keepKind,
  readKeepMessage,
  recordBytesMax,
  writeKeepMessage,
} from '../../../src/daemon/keeper/keep-message.js';
import { KeeperEnd, KeptThings } from '../../../src/daemon/keeper/kept-things.js';
import { testLock, tryLock } from '../../../src/system/ofd-lock.js';
import { DescriptorMessages } from '../../../src/system/pass-descriptors.js';
import { messageSocketPair } from '../../../src/system/unix-socket.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-keeper-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

function lockedFile(name: string): { fd: number; free: () => boolean } {
  const path = join(folder, name);
  const fd = openSync(path, 'w+');
  assert.equal(tryLock(fd, 'write', 0), true);
  return {
    fd,
    free: () => {
      const other = openSync(path, 'r+');
      try {
        return testLock(other, 'write', 0) === undefined;
      } finally {
        closeSync(other);
      }
    },
  };
}

test('what a daemon keeps outlives it, and the next one gets it', () => {
  const things = new KeptThings();
  const [keeperFd, daemonFd] = messageSocketPair();
  things.giveTo(keeperFd);
  const channel = new Channel(daemonFd);
  assert.deepEqual(channel.takeKept(), []);

  const first = lockedFile('first');
  const second = lockedFile('second');
  channel.keep(1, '{"n":1}', [first.fd]);
  channel.keep(2, 'two', [second.fd]);
  channel.update(1, '{"n":"ü"}');
  channel.update(9, 'nobody knows it');
  // The daemon dies here: before the keeper has read anything.
  for (const fd of [first.fd, second.fd, daemonFd]) closeSync(fd);
  assert.equal(first.free(), false);
  const end = new KeeperEnd(keeperFd, things);
  assert.equal(end.drain(), false);
  closeSync(keeperFd);
  assert.equal(things.size, 2);
  assert.deepEqual([first.free(), second.free()], [false, false]);

  const [nextKeeperFd, nextDaemonFd] = messageSocketPair();
  things.giveTo(nextKeeperFd);
  const next = new Channel(nextDaemonFd);
  const kept = next.takeKept();
  assert.deepEqual(
    kept.map(({ id, record, descriptors }) => [id, record, descriptors.length]),
    [
      [1, '{"n":"ü"}', 1],
      [2, 'two', 1],
    ],
  );
  for (const { descriptors } of kept) for (const fd of descriptors) closeSync(fd);
  const nextEnd = new KeeperEnd(nextKeeperFd, things);
  next.drop(1);
  assert.equal(nextEnd.drain(), true);
  assert.deepEqual([first.free(), second.free()], [true, false]);
  next.drop(2);
  next.drop(2);
  assert.equal(nextEnd.drain(), true);
  assert.deepEqual([things.size, second.free()], [0, true]);
  for (const fd of [nextKeeperFd, nextDaemonFd]) closeSync(fd);
});

test('a daemon that ended before it had read what the keeper gave it: what it has sent is kept', () => {
  const things = new KeptThings();
  const before = lockedFile('before');
  things.add(1, { record: 'before', descriptors: [before.fd] });
  const [keeperFd, daemonFd] = messageSocketPair();
  things.giveTo(keeperFd);
  const own = lockedFile('own');
  new Channel(daemonFd).keep(2, 'own', [own.fd]);
  // The kernel tells the other end with ECONNRESET that something was not read.
  for (const fd of [own.fd, daemonFd]) closeSync(fd);
  assert.equal(new KeeperEnd(keeperFd, things).drain(), false);
  assert.deepEqual([things.size, before.free(), own.free()], [2, false, false]);
  closeSync(keeperFd);

  const [nextKeeperFd, nextDaemonFd] = messageSocketPair();
  things.giveTo(nextKeeperFd);
  closeSync(nextDaemonFd);
  assert.throws(() => things.giveTo(nextKeeperFd), { code: 'EPIPE' });
  closeSync(nextKeeperFd);
  for (const id of [1, 2]) things.remove(id);
});

test('a keeper that went away before it gave all is an error; later the daemon does without it', () => {
  const [keeperFd, daemonFd] = messageSocketPair();
  closeSync(keeperFd);
  const channel = new Channel(daemonFd);
  assert.throws(() => channel.takeKept(), /before it had given all/);
  assert.equal(channel.keeperEnded, false);
  for (let time = 0; time < 2; time++) {
    channel.keep(1, '', []);
    channel.update(1, '');
    channel.drop(1);
    assert.equal(channel.keeperEnded, true);
  }
  closeSync(daemonFd);
});

test('what is no message of a daemon is not believed, and its descriptors are closed', () => {
  const things = new KeptThings();
  const [keeperFd, daemonFd] = messageSocketPair();
  const messages = new DescriptorMessages(daemonFd, 64);
  const { fd, free } = lockedFile('garbage');
  messages.buffer.fill(0xff);
  messages.send(16, [fd]);
  messages.send(3, [fd]);
  closeSync(fd);
  const end = new KeeperEnd(keeperFd, things);
  assert.equal(end.drain(), true);
  assert.deepEqual([things.size, free()], [0, true]);
  for (const one of [keeperFd, daemonFd]) closeSync(one);
});

test('a message says what was written, and its limits are checked', () => {
  const buffer = Buffer.alloc(8 + recordBytesMax);
  const kinds = fc.constantFrom(...Object.values(keepKind));
  const strings = fc.string({ unit: 'grapheme', maxLength: 200 });
  fc.assert(
    fc.property(kinds, fc.integer({ min: 0, max: 2 ** 48 - 1 }), strings, (kind, id, record) => {
      const bytes = writeKeepMessage(buffer, kind, id, record);
      const read = readKeepMessage(buffer.subarray(0, bytes));
      assert.deepEqual([read?.kind, read?.id, read?.record.toString()], [kind, id, record]);
    }),
  );
  assert.equal(writeKeepMessage(buffer, keepKind.keep, 1, 'x'.repeat(recordBytesMax)), buffer.length);
  assert.throws(() => writeKeepMessage(buffer, keepKind.keep, 1, 'x'.repeat(recordBytesMax + 1)), RangeError);
  for (const id of [-1, 2 ** 48, 1.5, NaN]) {
    assert.throws(() => writeKeepMessage(buffer, keepKind.keep, id, ''), RangeError);
  }
  assert.equal(readKeepMessage(Buffer.alloc(8)), undefined);
});

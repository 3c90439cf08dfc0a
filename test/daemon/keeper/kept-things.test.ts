import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Channel } from '../../../src/daemon/keeper/channel.js';
import {
  keepKind,
  KeepReader,
  KeepWriter,
  readKeepMessage,
  recordBytesMax,
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

test('a message says what was written, entry by entry', () => {
  const kinds = fc.constantFrom(...Object.values(keepKind));
  const records = fc.string({ unit: 'grapheme', maxLength: 200 });
  const entry = fc.tuple(kinds, fc.integer({ min: 0, max: 2 ** 48 - 1 }), records, fc.nat(3));
  const [readerFd, writerFd] = messageSocketPair();
  const writer = new KeepWriter(writerFd);
  const reader = new KeepReader(readerFd, closeSync);
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
      for (const [kind, id, record, count] of entries) {
        writer.add(kind, id, record, Array<number>(count).fill(writerFd));
      }
      writer.commit();
      const read: unknown[] = [];
      while (
        reader.read(false, ({ kind, id, record, descriptors }) => {
          read.push([kind, id, record.toString(), descriptors.length]);
          for (const fd of descriptors) closeSync(fd);
        }) === true
      );
      assert.deepEqual(read, entries);
    }),
  );
  for (const fd of [readerFd, writerFd]) closeSync(fd);
});

test('a record has a limit, an id too; descriptors go into as many messages as they need', () => {
  const [readerFd, writerFd] = messageSocketPair();
  const writer = new KeepWriter(writerFd);
  const reader = new KeepReader(readerFd, closeSync);
  for (const id of [-1, 2 ** 48, 1.5, NaN]) {
    assert.throws(() => writer.add(keepKind.keep, id, '', []), RangeError);
  }
  assert.throws(() => writer.add(keepKind.keep, 1, 'x'.repeat(recordBytesMax + 1), []), RangeError);
  assert.throws(() => writer.add(keepKind.keep, 1, '\u20ac'.repeat(recordBytesMax / 2), []), RangeError);
  writer.add(keepKind.keep, 1, 'x'.repeat(recordBytesMax), []);
  writer.add(keepKind.keep, 2, 'many', Array<number>(600).fill(writerFd));
  writer.commit();
  const things = new KeptThings();
  let messages = 0;
  while (reader.read(false, (entry) => things.take(entry)) === true) messages++;
  assert.equal(messages, 4);
  assert.equal(things.size, 2);
  const [nextReaderFd, nextWriterFd] = messageSocketPair();
  things.giveTo(nextWriterFd);
  const kept = new Channel(nextReaderFd).takeKept();
  assert.deepEqual(
    kept.map(({ id, record, descriptors }) => [id, record.length, descriptors.length]),
    [
      [1, recordBytesMax, 0],
      [2, 4, 600],
    ],
  );
  for (const { descriptors } of kept) for (const fd of descriptors) closeSync(fd);
  things.remove(2);
  for (const fd of [readerFd, writerFd, nextReaderFd, nextWriterFd]) closeSync(fd);
});

test('entries that are not whole are left out, and all behind them', () => {
  const bytes = Buffer.alloc(64);
  bytes.writeUInt16LE(keepKind.update, 0);
  bytes.writeUInt16LE(keepKind.keep, 16);
  const read = (length: number, descriptors: number[]): [kinds: number[], closed: number[]] => {
    const kinds: number[] = [];
    const closed: number[] = [];
    readKeepMessage(
      bytes.subarray(0, length),
      descriptors,
      ({ kind }) => kinds.push(kind),
      (fd) => closed.push(fd),
    );
    return [kinds, closed];
  };
  assert.deepEqual(read(32, []), [[keepKind.update, keepKind.keep], []]);
  assert.deepEqual(read(31, [7]), [[keepKind.update], [7]]);
  bytes.writeUInt16LE(2, 18);
  assert.deepEqual(read(32, [7]), [[keepKind.update], [7]]);
  assert.deepEqual(read(32, [7, 8, 9]), [[keepKind.update, keepKind.keep], [9]]);
  bytes.writeUInt32LE(1, 20);
  assert.deepEqual(read(32, [7, 8]), [[keepKind.update], [7, 8]]);
  bytes.writeUInt16LE(99, 0);
  assert.deepEqual(read(64, [7]), [[], [7]]);
});

test('a channel for another keeper has everything in its queue at once', () => {
  const things = new KeptThings();
  const [keeperFd, daemonFd] = messageSocketPair();
  things.giveTo(keeperFd);
  const channel = new Channel(daemonFd);
  channel.takeKept();
  const own = lockedFile('renewed');
  channel.keep(4, 'four', [own.fd]);
  closeSync(keeperFd);
  channel.update(4, 'FOUR');
  assert.equal(channel.keeperEnded, true);
  const [end = -1, ...more] = channel.renew([{ id: 4, record: 'FOUR', descriptors: [own.fd] }]);
  assert.deepEqual(more, []);
  assert.equal(channel.keeperEnded, false);
  // The daemon dies before anybody has read it.
  for (const fd of [own.fd, channel.fd]) closeSync(fd);
  assert.equal(own.free(), false);
  const next = new KeptThings();
  assert.equal(new KeeperEnd(end, next).drain(), false);
  assert.deepEqual([next.size, own.free()], [1, false]);
  next.remove(4);
  assert.equal(own.free(), true);
  closeSync(end);
});

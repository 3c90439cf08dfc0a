import assert from 'node:assert/strict';
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { testLock, tryLock } from '../../src/system/ofd-lock.js';
import { DescriptorMessages, descriptorsMax } from '../../src/system/pass-descriptors.js';
import { messageSocketPair, setSendBuffer } from '../../src/system/unix-socket.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-pass-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

function pair(bytesMax = 256): { a: DescriptorMessages; b: DescriptorMessages; fds: [number, number] } {
  const fds = messageSocketPair();
  return { a: new DescriptorMessages(fds[0], bytesMax), b: new DescriptorMessages(fds[1], bytesMax), fds };
}

test('a descriptor in the queue keeps its lock, and brings it along', () => {
  const { a, b, fds } = pair();
  const path = join(folder, 'locked');
  const fd = openSync(path, 'w+');
  const other = openSync(path, 'r+');
  assert.equal(tryLock(fd, 'write', 0), true);
  a.send(a.buffer.write('first'), [fd]);
  closeSync(fd);
  closeSync(fds[0]);
  assert.equal(testLock(other, 'write', 0)?.type, 'write');

  const message = b.receive(true);
  assert.ok(typeof message === 'object');
  assert.equal(b.buffer.toString('utf8', 0, message.bytes), 'first');
  const [received = -1] = message.descriptors;
  assert.equal(fstatSync(received).ino, fstatSync(other).ino);
  assert.equal(testLock(other, 'write', 0)?.type, 'write');
  closeSync(received);
  assert.equal(testLock(other, 'write', 0), undefined);
  assert.equal(b.receive(true), undefined);
  closeSync(other);
  closeSync(fds[1]);
});

test('messages stay apart, with as many descriptors as the kernel allows, or none', () => {
  const { a, b, fds } = pair();
  assert.equal(b.receive(false), 'nothing');
  const many = Array.from({ length: descriptorsMax }, () => openSync('/dev/null', 'r'));
  setSendBuffer(fds[0], 1024 * 1024);
  a.send(a.buffer.write('many'), many);
  a.send(a.buffer.write('none'), []);
  for (const fd of many) closeSync(fd);
  const first = b.receive(false);
  assert.ok(typeof first === 'object');
  assert.equal(new Set(first.descriptors).size, descriptorsMax);
  for (const fd of first.descriptors) closeSync(fd);
  const second = b.receive(false);
  assert.deepEqual(second, { bytes: 4, descriptors: [] });
  assert.equal(b.buffer.toString('utf8', 0, 4), 'none');
  for (const fd of fds) closeSync(fd);
});

test('a message that is longer than the buffer is an error, not half a message', () => {
  const { a, fds } = pair();
  const small = new DescriptorMessages(fds[1], 8);
  a.send(a.buffer.write('more than eight bytes'), []);
  assert.throws(() => small.receive(false), /more than 8 bytes/);
  closeSync(fds[1]);
  assert.throws(() => a.send(1, []), { code: 'EPIPE' });
  closeSync(fds[0]);
});

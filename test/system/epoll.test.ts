import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Epoll, readable } from '../../src/system/epoll.js';
import { calm, newEventFd, wake } from '../../src/system/event-fd.js';
import { peerCredentials } from '../../src/system/peer-credentials.js';
import {
  acceptConnection,
  connectUnix,
  listenUnix,
  receive,
  transmit,
} from '../../src/system/unix-socket.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-epoll-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

function ready(epoll: Epoll, timeoutMs: number): number[] {
  const fds: number[] = [];
  epoll.wait(timeoutMs, (fd, events) => {
    assert.ok((events & readable) !== 0);
    fds.push(fd);
  });
  return fds;
}

for (const [what, path] of [
  ['a short path', join(folder, 's')],
  ['a path that is longer than an address', join(folder, 'l'.repeat(120))],
] as const) {
  test(`a connection over ${what}: who it is, what it sends, and its end`, () => {
    if (path.length > 110) assert.throws(() => connectUnix(path), { code: 'ENOENT' });
    const listening = listenUnix(path, 16);
    assert.throws(() => listenUnix(path, 16), { code: 'EADDRINUSE' });
    const epoll = new Epoll();
    epoll.add(listening, readable);
    assert.deepEqual(ready(epoll, 0), []);
    assert.equal(acceptConnection(listening), undefined);

    const client = connectUnix(path);
    assert.deepEqual(ready(epoll, 1_000), [listening]);
    const server = acceptConnection(listening);
    assert.ok(server !== undefined);
    assert.deepEqual(peerCredentials(server), {
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
    epoll.add(server, readable);
    const buffer = Buffer.alloc(64);
    assert.equal(receive(server, buffer), -1);
    assert.equal(transmit(client, Buffer.from('question')), 8);
    assert.deepEqual(ready(epoll, 1_000), [server]);
    assert.equal(receive(server, buffer), 8);
    assert.equal(buffer.toString('utf8', 0, 8), 'question');

    closeSync(client);
    assert.deepEqual(ready(epoll, 1_000), [server]);
    assert.equal(receive(server, buffer), 0);
    assert.equal(transmit(server, Buffer.from('answer')), 0);
    epoll.remove(server);
    assert.deepEqual(ready(epoll, 0), []);
    epoll.close();
    closeSync(server);
    closeSync(listening);
  });
}

test('a full queue does not block', () => {
  const path = join(folder, 'full');
  const listening = listenUnix(path, 1);
  const client = connectUnix(path);
  const server = acceptConnection(listening);
  assert.ok(server !== undefined);
  const chunk = Buffer.alloc(64 * 1024);
  let sent = 0;
  for (let count = 1; count > 0 && sent < 64 * 1024 * 1024; sent += Math.max(count, 0)) {
    count = transmit(server, chunk);
  }
  assert.ok(sent > 0 && sent < 64 * 1024 * 1024);
  for (const fd of [client, server, listening]) closeSync(fd);
});

test('an event descriptor wakes, once for any number of calls, until it is calmed', () => {
  const fd = newEventFd();
  const epoll = new Epoll();
  epoll.add(fd, readable);
  assert.deepEqual(ready(epoll, 0), []);
  wake(fd);
  wake(fd);
  assert.deepEqual(ready(epoll, 0), [fd]);
  calm(fd);
  calm(fd);
  assert.deepEqual(ready(epoll, 0), []);
  epoll.close();
  closeSync(fd);
});

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { OwnerWatch } from '../../../src/daemon/lockd/owner-watch.js';
import { Epoll } from '../../../src/system/epoll.js';

interface Watched {
  readonly watch: OwnerWatch;
  readonly pid: number;
  readonly startTime: number;
  /** What epoll says within a moment. */
  readonly events: () => number[];
}

/** A process that runs until it is ended, and is watched as long as it is needed once. */
function watched(t: TestContext): Watched {
  const epoll = new Epoll();
  const watch = new OwnerWatch(epoll);
  const child = spawn('sleep', ['1000']);
  const { pid = 0 } = child;
  t.after(async () => {
    child.kill('SIGKILL');
    if (child.signalCode === null) await once(child, 'exit');
    epoll.close();
  });
  const startTime = watch.need(pid);
  assert.ok(startTime !== undefined);
  return {
    watch,
    pid,
    startTime,
    events: () => {
      const fds: number[] = [];
      epoll.wait(20, (fd) => fds.push(fd));
      return fds;
    },
  };
}

test('the end of a process is told once, and then it is watched no more', async (t) => {
  const { watch, pid, startTime, events } = watched(t);
  assert.deepEqual(events(), []);
  process.kill(pid, 'SIGKILL');
  let fds: number[] = [];
  for (let round = 0; round < 1_000 && fds.length === 0; round++) fds = events();
  assert.equal(fds.length, 1);
  const [fd = -1] = fds;
  assert.equal(watch.isWatched(fd), true);
  assert.deepEqual([watch.ended(fd)?.pid, watch.ended(fd)], [pid, undefined]);
  assert.deepEqual([watch.watches(pid, startTime), watch.isWatched(fd)], [false, false]);
});

test('an event of a descriptor that was closed before in the same turn is not the end of who has its number now', async (t) => {
  const { watch, pid, startTime } = watched(t);
  let own = -1;
  for (let fd = 0; fd < 1_000 && own === -1; fd++) if (watch.isWatched(fd)) own = fd;
  assert.equal(watch.ended(own), undefined);
  assert.equal(watch.watches(pid, startTime), true);
});

test('who needed an earlier process with the same pid says nothing about this one', async (t) => {
  const { watch, pid, startTime } = watched(t);
  for (let time = 0; time < 3; time++) watch.noLongerNeeds(pid, startTime - 1);
  watch.end(pid, startTime - 1, 0);
  assert.equal(watch.endsAny, false, 'another process is not ended in its place');
  // It is still needed, so however many others come and go, it stays.
  for (let round = 0; round < 300; round++) {
    const child = spawn('true');
    const other = child.pid ?? 0;
    const started = watch.need(other);
    if (started !== undefined) watch.noLongerNeeds(other, started);
    await once(child, 'exit');
  }
  assert.equal(watch.watches(pid, startTime), true);
  watch.end(pid, startTime, 0);
  assert.equal(watch.endsAny, true);
});

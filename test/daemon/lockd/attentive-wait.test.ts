import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttentiveWait } from '../../../src/daemon/lockd/attentive-wait.js';
import type { Epoll } from '../../../src/system/epoll.js';

/** An epoll that has `count` events from its n-th call on, and says with which time-outs it was called. */
function epollThat(hasEvents: (call: number, timeoutMs: number) => number) {
  const timeouts: number[] = [];
  const wait: Epoll['wait'] = (timeoutMs) => {
    timeouts.push(timeoutMs);
    return hasEvents(timeouts.length, timeoutMs);
  };
  return { timeouts, epoll: { wait } as Epoll };
}

/** Each reading is a hundredth of a millisecond after the one before. */
function clock(): () => number {
  let readings = 0;
  return () => readings++ / 100;
}

const nothing = (): void => undefined;

test('what comes while it looks is given without sleeping', () => {
  const { epoll, timeouts } = epollThat((call) => (call === 3 ? 2 : 0));
  assert.equal(new AttentiveWait(epoll, clock()).wait(-1, nothing), 2);
  assert.deepEqual(timeouts, [0, 0, 0]);
});

test('when nothing comes it sleeps as long as it was told, and looks less and less often', () => {
  const { epoll, timeouts } = epollThat((_, timeoutMs) => (timeoutMs === 0 ? 0 : 1));
  const waiting = new AttentiveWait(epoll, clock());
  const looked: number[] = [];
  for (let wait = 0; wait < 2_000; wait++) {
    timeouts.length = 0;
    assert.equal(waiting.wait(-1, nothing), 1);
    assert.equal(timeouts.at(-1), -1);
    if (timeouts.length > 1) looked.push(wait);
  }
  // Each time after twice as long, 256 waits at most.
  assert.deepEqual(looked, [0, 2, 5, 10, 19, 36, 69, 134, 263, 520, 777, 1034, 1291, 1548, 1805]);
});

test('once looking was worth it, it looks each time again', () => {
  let comes = false;
  const { epoll, timeouts } = epollThat((_, timeoutMs) => (timeoutMs !== 0 || comes ? 1 : 0));
  const waiting = new AttentiveWait(epoll, clock());
  for (let wait = 0; wait < 6; wait++) waiting.wait(-1, nothing);
  comes = true;
  for (let wait = 0; wait < 20; wait++) waiting.wait(-1, nothing);
  timeouts.length = 0;
  for (let wait = 0; wait < 5; wait++) waiting.wait(-1, nothing);
  assert.deepEqual(timeouts, [0, 0, 0, 0, 0]);
});

test('who is not to wait does not', () => {
  const { epoll, timeouts } = epollThat(() => 0);
  assert.equal(new AttentiveWait(epoll, clock()).wait(0, nothing), 0);
  assert.deepEqual(timeouts, [0]);
});

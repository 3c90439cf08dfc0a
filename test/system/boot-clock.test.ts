import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { boottimeMs } from '../../src/system/boot-clock.js';

test('the clock of the host since its boot is what /proc/uptime says', () => {
  const before = boottimeMs();
  // To a hundredth of a second, cut off; it counts suspend as well (proc_uptime(5)).
  const uptimeMs = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;
  const after = boottimeMs();
  assert.ok(before - 11 <= uptimeMs && uptimeMs <= after + 1, `${before} ${uptimeMs} ${after}`);
});

test('it goes only forward', () => {
  let last = boottimeMs();
  for (let reading = 0; reading < 1_000; reading++) {
    const now = boottimeMs();
    assert.ok(now >= last);
    last = now;
  }
});

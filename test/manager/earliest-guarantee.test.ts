/** Several grants of one hold, each of which ends by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Guarantee, GuaranteeTimes } from '../../src/driver/contract.js';
import { earliestGuarantee } from '../../src/manager/earliest-guarantee.js';

interface Part extends Guarantee {
  renew(times: GuaranteeTimes): void;
  readonly listeners: number;
}

const at = (loseAtMs: number, killAtMs: number, endMs: number): GuaranteeTimes => ({
  loseAtMs,
  killAtMs,
  endMs,
});

function part(first: GuaranteeTimes): Part {
  let times = first;
  const listeners = new Set<(times: GuaranteeTimes) => void>();
  return {
    get times() {
      return times;
    },
    get listeners() {
      return listeners.size;
    },
    onRenewal(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    renew(next) {
      times = next;
      for (const listener of listeners) listener(next);
    },
  };
}

test('none that ends by itself: no guarantee', () => {
  assert.equal(
    earliestGuarantee(() => []),
    undefined,
  );
});

test('each time is that of the one that ends first', () => {
  const parts = [part(at(10, 50, 60)), part(at(20, 30, 70))];
  assert.deepEqual(earliestGuarantee(() => parts)?.times, at(10, 30, 60));
});

test('a renewal of one tells what all of them are certain for; one that came later is heard too', () => {
  const parts = [part(at(10, 20, 30))];
  const guarantee = earliestGuarantee(() => parts);
  const heard: GuaranteeTimes[] = [];
  const forget = guarantee?.onRenewal((times) => heard.push(times));
  parts[0]?.renew(at(40, 50, 60));
  parts.push(part(at(45, 46, 47)));
  parts[0]?.renew(at(70, 80, 90));
  parts[1]?.renew(at(75, 76, 77));
  assert.deepEqual(heard, [at(40, 50, 60), at(45, 46, 47), at(70, 76, 77)]);
  forget?.();
  assert.deepEqual(
    parts.map(({ listeners }) => listeners),
    [0, 0],
  );
});

/**
 * The session's state machine and the lock transaction, in a simulated cluster with a virtual clock. A schedule that goes
 * wrong is run again with `npm run chaos -- simulate 0 SEED`, and more of them with `npm run chaos -- simulate SECONDS`.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { mutations } from './simulation/mutations.js';
import { runSchedule } from './simulation/run-schedule.js';

/** Thousands of them take a minute; here it is a few seconds, and other ones in each run. */
const schedules = 100;
/** Seeds in which each broken rule has been found; the next ones are tried as well, as another change can move it. */
const schedulesToFind = 400;

test('no two have a lock, nothing is lost without a reason, whoever waits comes in order', () => {
  const first = Math.floor(Math.random() * 2 ** 31);
  let holds = 0;
  let losses = 0;
  for (let seed = first; seed < first + schedules; seed++) {
    const verdict = runSchedule(seed);
    assert.deepEqual(verdict.faults, [], `seed ${seed}`);
    holds += verdict.holds;
    losses += verdict.losses;
  }
  // Otherwise nothing was tested.
  assert.ok(holds > schedules, `only ${holds} commands ran`);
  assert.ok(losses > schedules, `only ${losses} sessions were lost`);
});

test('the same seed gives the same schedule', () => {
  assert.deepEqual(runSchedule(1), runSchedule(1));
});

for (const [name, { rules, finds }] of Object.entries(mutations)) {
  test(`a broken rule is found: ${name}`, () => {
    let found: string | undefined;
    for (let seed = 1; seed <= schedulesToFind && found === undefined; seed++) {
      found = runSchedule(seed, rules).faults.find((fault) => finds.test(fault));
    }
    assert.ok(found !== undefined, `not in ${schedulesToFind} schedules`);
  });
}

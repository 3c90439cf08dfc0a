/**
 * Locks of a cluster while everything goes wrong: never two holders, no lost update, no stale token, nothing left behind.
 *
 * HOLDFAST_CHAOS_SECONDS: how long (90). HOLDFAST_CHAOS_SEED: which faults, in which order. HOLDFAST_CHAOS_HISTORY: a file for
 * what was seen, one event a line, and the faults as they happen on stderr.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { commandFolder } from '../beds/command.js';
import { runChaos } from './chaos-run.js';
import { lacksCluster } from './cluster.js';
import { networkFaults, otherFaults } from './faults.js';

const seconds = Number(process.env['HOLDFAST_CHAOS_SECONDS'] ?? 90);
const seed = Number(process.env['HOLDFAST_CHAOS_SEED'] ?? Date.now() % 1_000_000);
const file = process.env['HOLDFAST_CHAOS_HISTORY'];
const folder = commandFolder();
/** What is told of the history around a violation: what led to it began some time to live before. */
const beforeMs = 20_000;
const afterMs = 5_000;

test(`${seconds} seconds of chaos`, { skip: lacksCluster(), timeout: (seconds + 400) * 1_000 }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const say = (line: string): void => void (file !== undefined && process.stderr.write(`${line}\n`));
  const { verdict, history, ends, faults, odd } = await runChaos({ folder, seconds, seed, say });
  if (file !== undefined) writeFileSync(file, history.toString());

  const listed = (counts: ReadonlyMap<string, number>): string =>
    [...counts].map(([what, times]) => `${times} ${what}`).join(', ');
  const { figures, late, violations } = verdict;
  t.diagnostic(`runs: ${listed(ends)}`);
  t.diagnostic(`faults: ${listed(faults)}`);
  t.diagnostic(`${figures.grants} grants, ${figures.writes} writes, ${figures.refused} of them refused`);
  const longest = Math.round(Math.max(0, ...figures.cutToGoneMs));
  t.diagnostic(
    `${figures.cutToGoneMs.length} commands of hosts that were cut off, gone after at most ${longest} ms`,
  );
  const latest = Math.round(Math.max(0, ...late.map(({ afterThawMs }) => afterThawMs)));
  t.diagnostic(
    `${late.length} overlaps by a host that stood still, over at most ${latest} ms after it went on`,
  );

  const around = history.events.filter(({ at }) =>
    violations.some((one) => at > one.at - beforeMs && at < one.at + afterMs),
  );
  const told = around.map((event) => JSON.stringify(event)).join('\n');
  assert.deepEqual(violations, [], `seed ${seed}\n${told}`);
  assert.deepEqual(odd, [], `seed ${seed}`);
  // It has shown something only if there was work, and if things went wrong.
  assert.ok(figures.grants > seconds / 8, `only ${figures.grants} grants`);
  const kinds = Object.keys({ ...networkFaults, ...otherFaults }).length;
  assert.ok(faults.size > Math.min(kinds, seconds / 5) / 2, `only ${faults.size} kinds of faults`);
});

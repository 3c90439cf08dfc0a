/**
 * A process with one session, for tests: says in lines of JSON what becomes of it. Started with endpoints, separated by commas.
 * A line on its input is a wish: `block MS` keeps its main thread busy, `end` gives the session back.
 */
import { createInterface } from 'node:readline';
import { openSession } from '../../src/drivers/etcd/session/open-session.js';
import { timingsFrom } from '../../src/drivers/etcd/timings.js';
import { boottimeMs } from '../../src/system/boot-clock.js';
import type { SessionUserLine } from './etcd-session.js';

const say = (line: SessionUserLine): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`);
};
const endpoints = (process.argv[2] ?? '').split(',');
const session = await openSession({ endpoints, callMs: 3_000 }, timingsFrom({}), {
  key: (lease) => `holdfast/v1/sessions/${lease.toString(16)}`,
  value: '{}',
});
say({ said: 'open', atMs: boottimeMs(), lease: session.leaseId.toString(16), ...session.times });
session.onRenewal((times) => say({ said: 'renewed', atMs: boottimeMs(), ...times }));
void session.lost.then(({ reason }) => say({ said: 'lost', atMs: boottimeMs(), reason, ...session.times }));
createInterface({ input: process.stdin }).on('line', (line) => {
  const [wish, ms] = line.split(' ');
  if (wish === 'end') void session.end().then(() => process.exit(0));
  if (wish !== 'block') return;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(ms));
  say({ said: 'blocked', atMs: boottimeMs(), ...session.times });
});

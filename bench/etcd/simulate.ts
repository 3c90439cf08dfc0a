/**
 * `npm run chaos -- simulate [SECONDS] [SEED]`: schedules of the simulation (test/drivers/etcd/simulation) for as long as asked,
 * from that seed on (another one each time). With 0 seconds: the schedule of that seed alone.
 */
import { runSchedule } from '../../test/drivers/etcd/simulation/run-schedule.js';

const seconds = Number(process.argv[2] ?? 60);
const first = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
const startMs = performance.now();
let [schedules, events, holds, losses, wrong] = [0, 0, 0, 0, 0];
do {
  const seed = first + schedules;
  const verdict = runSchedule(seed);
  schedules += 1;
  events += verdict.events;
  holds += verdict.holds;
  losses += verdict.losses;
  if (verdict.faults.length === 0) continue;
  wrong += 1;
  console.log(`seed ${seed}:`);
  for (const fault of verdict.faults) console.log(`  ${fault}`);
} while (performance.now() - startMs < seconds * 1000);
const minutes = (performance.now() - startMs) / 60_000;
console.log(
  `${schedules} schedules from seed ${first} on, ${Math.round(schedules / minutes)} a minute: ` +
    `${events} events, ${holds} commands, ${losses} sessions lost, ${wrong} schedules went wrong`,
);
process.exitCode = wrong === 0 ? 0 : 1;

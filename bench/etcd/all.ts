/**
 * The figures of the driver etcd: `npm run bench:etcd [-- acquire|command|crowd|failover]`. A real etcd with one member, on a real disk;
 * two for the crowd, which takes two minutes, and three for the failover, which takes some more.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEtcd } from '../../test/beds/etcd.js';
import { acquireFigures } from './acquire.js';
import { commandFigures } from './command.js';
import { crowdFigures } from './crowd.js';
import { failoverFigures } from './failover.js';

const acquireGoal = 1.3;

const ms = (value: number): string => `${value.toFixed(2)} ms`;
const times = (one: number, other: number): string => `${(one / other).toFixed(2)}x`;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const chosen = process.argv.slice(2);
const wants = (section: string): boolean => chosen.length === 0 || chosen.includes(section);
say(
  `${cpus().length} processors, load ${loadavg()
    .map((one) => one.toFixed(1))
    .join(' ')}`,
);
const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-etcd-'));
try {
  const cluster = await startEtcd(folder);
  try {
    if (wants('acquire')) {
      for (const { disks, acquire, transaction, put } of await acquireFigures(
        cluster.endpoints,
        await cluster.client(),
      )) {
        say(
          `acquire a guest with ${disks} ${disks === 1 ? 'disk' : 'disks'}`.padEnd(32) +
            ` ${ms(acquire)}   a bare put ${ms(put)}   ${times(acquire, put)}   goal: at most ${acquireGoal}x`,
        );
        say(
          '  a bare transaction of that shape'.padEnd(34) +
            `${ms(transaction)}   ${times(transaction, put)} of the put, acquire ${times(acquire, transaction)} of it`,
        );
      }
    }
    if (wants('command')) {
      const { run, etcdctl, node } = commandFigures(folder, cluster.endpoints);
      say(
        `holdfast run -- true              ${ms(run)}   etcdctl lock NAME true ${ms(etcdctl)} + Node ${ms(node)} = ${ms(etcdctl + node)}` +
          `   ${times(run, etcdctl + node)}   goal: at most 1x`,
      );
    }
  } finally {
    await cluster.stop();
  }
  if (wants('crowd')) await crowdFigures(folder, say);
  if (wants('failover')) await failoverFigures(folder, say);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Loop devices for tests, which need root. */
import { execFileSync } from 'node:child_process';
import type { TestContext } from 'node:test';
import { until } from '../beds/until.js';

/** Attaches a file until the test is over; gives the device node. */
export function attachLoop(t: TestContext, path: string): string {
  const device = execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8' }).trim();
  t.after(() => execFileSync('losetup', ['--detach', device]));
  return device;
}

const mibSectors = 2048;
const partitions = [
  ['1', String(mibSectors), String(2 * mibSectors)],
  ['2', String(4 * mibSectors), String(2 * mibSectors)],
];

/** The same with two partitions of 2 MiB, at 1 and at 4 MiB. */
export function attachPartitionedLoop(t: TestContext, path: string): string {
  const device = execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8' }).trim();
  t.after(async () => {
    // Whoever looks at all devices of the host has a partition open for a moment, and then it cannot go; a partition
    // that stays would be there for whoever gets the device next.
    for (const [number = ''] of partitions) {
      await until(() => runs('delpart', [device, number]), `partition ${number} of ${device} to go`);
    }
    execFileSync('losetup', ['--detach', device]);
  });
  // Not every kernel reads partition tables, but all can be told of a partition (addpart(8)).
  for (const partition of partitions) execFileSync('addpart', [device, ...partition]);
  return device;
}

function runs(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

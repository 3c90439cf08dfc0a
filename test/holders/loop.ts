/** Loop devices for tests, which need root. */
import { execFileSync } from 'node:child_process';
import type { TestContext } from 'node:test';

/** Attaches a file until the test is over; gives the device node. */
export function attachLoop(t: TestContext, path: string): string {
  const device = execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8' }).trim();
  t.after(() => execFileSync('losetup', ['--detach', device]));
  return device;
}

const mibSectors = 2048;

/** The same with two partitions of 2 MiB, at 1 and at 4 MiB. */
export function attachPartitionedLoop(t: TestContext, path: string): string {
  const device = execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8' }).trim();
  t.after(() => {
    for (const number of ['1', '2']) execFileSync('delpart', [device, number]);
    execFileSync('losetup', ['--detach', device]);
  });
  // Not every kernel reads partition tables, but all can be told of a partition (addpart(8)).
  execFileSync('addpart', [device, '1', String(mibSectors), String(2 * mibSectors)]);
  execFileSync('addpart', [device, '2', String(4 * mibSectors), String(2 * mibSectors)]);
  return device;
}

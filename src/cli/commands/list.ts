import { isHoldfastError } from '../../errors.js';
import {
  listWithDaemon,
  listWithoutDaemon,
  type ClusterHold,
  type ListedAnywhere,
  type ListedHold,
} from '../../index.js';
import { daemonFrom } from '../daemon-hold.js';
import { managerFrom } from '../manager-from-options.js';
import type { OptionValues, Parsed } from '../parse-arguments.js';
import { renderTable } from '../render-table.js';
import { renderSince } from '../render-time.js';
import { styleFor, type Style } from '../style.js';
import { writeOut } from '../write.js';

/** `holdfast list`. */
export async function list({ options }: Parsed): Promise<number> {
  const manager = managerFrom(options);
  try {
    if (options.has('cluster')) {
      const holds = await manager.clusterHolds();
      writeOut(
        options.has('json') ? `${JSON.stringify(holds, null, 2)}\n` : renderCluster(holds, styleFor(1)),
      );
      return 0;
    }
    const holds = await withDaemon(await manager.holds(), options);
    writeOut(options.has('json') ? `${JSON.stringify(holds, null, 2)}\n` : renderHolds(holds, styleFor(1)));
    return 0;
  } finally {
    await manager.close();
  }
}

/** Where no daemon runs, or this user may not ask it, there is only his own; unless he has named it. */
async function withDaemon(
  own: readonly ListedHold[],
  options: OptionValues,
): Promise<readonly ListedAnywhere[]> {
  try {
    return await listWithDaemon(own, await daemonFrom(options));
  } catch (error) {
    const absent = isHoldfastError(error, 'DRIVER_FAILED') || isHoldfastError(error, 'NOT_PERMITTED');
    if (absent && !options.has('socket')) return listWithoutDaemon(own, error);
    throw error;
  }
}

/** A line for each resource; what is the same for all of a hold stands in its first line. */
export function renderHolds(holds: readonly ListedAnywhere[], style: Style, now: Date = new Date()): string {
  if (holds.length === 0) return 'You hold nothing.\n';
  const rows = holds.flatMap((hold) => {
    const { owner, processes, since, resources, state, lost } = hold;
    const name = owner.kind === 'domain' ? `guest "${owner.name}"` : owner.name;
    const pids = processes.map(({ pid, program }) => `${pid} (${program})`).join(', ');
    const head = [name, pids === '' ? '-' : pids, renderSince(since, now), throughWhat(hold)];
    const standing = lost === undefined ? (state === 'suspended' ? ' (suspended)' : '') : ' (LOST)';
    const lines = resources.length === 0 ? [{ label: '-', mode: '-' }] : resources;
    return lines.map(({ label, mode }, index) => [
      ...(index === 0 ? head : ['', '', '', '']),
      mode,
      label + standing,
    ]);
  });
  return renderTable(['HELD BY', 'PID', 'SINCE', 'DRIVER', 'MODE', 'RESOURCE'], rows, style);
}

/** As `renderHolds`, with the host. */
export function renderCluster(holds: readonly ClusterHold[], style: Style, now: Date = new Date()): string {
  if (holds.length === 0) return 'Nobody in the cluster holds anything.\n';
  const rows = holds.flatMap(({ host, guest, name, pid, program, since, locks }) => {
    const who = guest === undefined ? name : `guest "${guest}"`;
    const process = pid === undefined ? '-' : program === undefined ? `${pid}` : `${pid} (${program})`;
    const head = [host, who, process, since === undefined ? '-' : renderSince(since, now)];
    return locks.map(({ mode, label }, index) => [...(index === 0 ? head : ['', '', '', '']), mode, label]);
  });
  return renderTable(['HOST', 'HELD BY', 'PID', 'SINCE', 'MODE', 'RESOURCE'], rows, style);
}

function throughWhat({ drivers, daemon }: ListedAnywhere): string {
  return daemon === undefined ? drivers.join(', ') : `holdfastd (${drivers.join(', ')})`;
}

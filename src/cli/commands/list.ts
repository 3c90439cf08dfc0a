import type { ListedHold } from '../../index.js';
import { managerFrom } from '../manager-from-options.js';
import type { Parsed } from '../parse-arguments.js';
import { renderTable } from '../render-table.js';
import { renderSince } from '../render-time.js';
import { styleFor, type Style } from '../style.js';
import { writeOut } from '../write.js';

/** `holdfast list`. */
export async function list({ options }: Parsed): Promise<number> {
  const manager = managerFrom(options);
  try {
    const holds = await manager.holds();
    writeOut(options.has('json') ? `${JSON.stringify(holds, null, 2)}\n` : renderHolds(holds, styleFor(1)));
    return 0;
  } finally {
    await manager.close();
  }
}

/** A line for each resource; what is the same for all of a hold stands in its first line. */
export function renderHolds(holds: readonly ListedHold[], style: Style, now: Date = new Date()): string {
  if (holds.length === 0) return 'You hold nothing.\n';
  const rows = holds.flatMap(({ owner, processes, since, drivers, resources }) => {
    const name = owner.kind === 'domain' ? `guest "${owner.name}"` : owner.name;
    const pids = processes.map(({ pid, program }) => `${pid} (${program})`).join(', ');
    const head = [name, pids === '' ? '-' : pids, renderSince(since, now), drivers.join(', ')];
    const lines = resources.length === 0 ? [{ label: '-', mode: '-' }] : resources;
    return lines.map(({ label, mode }, index) => [...(index === 0 ? head : ['', '', '', '']), mode, label]);
  });
  return renderTable(['HELD BY', 'PID', 'SINCE', 'DRIVER', 'MODE', 'RESOURCE'], rows, style);
}

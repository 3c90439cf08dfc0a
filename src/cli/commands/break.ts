import { HoldfastError, type ClusterHold } from '../../index.js';
import { printable } from '../../printable.js';
import { managerFrom } from '../manager-from-options.js';
import type { OptionValues, Parsed } from '../parse-arguments.js';
import { writeOut } from '../write.js';

/** `holdfast break`. */
export async function breakLock({ options, operands: [name = ''] }: Parsed): Promise<number> {
  const manager = managerFrom(options);
  try {
    const broken = await manager.breakLock(name, deathFrom(options));
    if (options.has('json')) writeOut(`${JSON.stringify(broken ?? null, null, 2)}\n`);
    else if (broken === undefined) writeOut(`Nobody in the cluster has locked ${printable(name)}.\n`);
    else {
      const whose = broken.holders.map(holderInWords).join(', ');
      writeOut(`The lock of ${printable(broken.label)} is broken; it was held by ${printable(whose)}.\n`);
    }
    return 0;
  } finally {
    await manager.close();
  }
}

function deathFrom(options: OptionValues): { readonly host: string; readonly because: string } | undefined {
  const host = options.text('host-is-dead');
  const because = options.text('because');
  if (host === undefined) return undefined;
  if (because !== undefined && because.trim() !== '') return { host, because };
  throw new HoldfastError('USAGE', `--host-is-dead=${host} is a statement that needs a reason`, {
    remedy: "Say how it is known, for the log: --because='switched off at 12:05'",
  });
}

function holderInWords({ guest, name, host, pid }: Omit<ClusterHold, 'locks'>): string {
  const who = guest === undefined ? name : `guest "${guest}"`;
  return `${who} on host ${host}${pid === undefined ? '' : ` (pid ${pid})`}`;
}

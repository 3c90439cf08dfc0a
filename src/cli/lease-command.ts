/** The row of `holdfast lease`. */
import type { CommandEntry } from './command-entry.js';
import { config, help, json } from './shared-options.js';

export const leaseCommand: CommandEntry = {
  name: 'lease',
  summary: 'Make leases on shared storage for sanlock, and show them.',
  operands: 'init|show PLACE',
  takes: 'action and place',
  about: [
    'PLACE is LOCKSPACE:NAME:PATH[:OFFSET] for a lease, LOCKSPACE:PATH[:OFFSET] for a lockspace itself; for',
    'show also PATH[:OFFSET] alone: all that is in its first GiB. OFFSET (default: 0) is in bytes or as 1M; a',
    'colon in PATH is written \\:. Each takes 1 MiB, or as its lockspace does in the same place; on a device',
    'with sectors of 4096 bytes 8 MiB. OFFSET is a multiple of that.',
    'init makes the file if it is missing, with the size that is needed, for the user that sanlock runs as.',
    'What is there already under the same name stays as it is; a place with anything else in it is refused.',
    'show says who has each lease, and which hosts are in a lockspace; whether they live it knows only where',
    'this host has joined the lockspace. The daemon need not run.',
    'Ends with status 75 if something else is there or somebody holds it, 66 if show finds nothing.',
  ],
  options: [
    {
      name: 'force',
      help: 'Write over what is there, but for what somebody holds (init). Whatever it was is lost.',
    },
    {
      name: 'sector',
      value: 'BYTES',
      help: 'Sectors of 512 or 4096 bytes (init). Default: as its lockspace, or the device.',
    },
    {
      name: 'align',
      value: 'SIZE',
      help: 'What it takes (init): 1M, 2M, 4M or 8M with sectors of 4096 bytes.',
    },
    config,
    json,
    help,
  ],
  examples: [
    {
      line: 'holdfast lease init vms:/shared/leases.img && holdfast lease init vms:web1:/shared/leases.img:1M',
      says: 'A lockspace, and behind it in the same file a lease for a guest.',
    },
    { line: 'holdfast lease show /shared/leases.img', says: 'Who has which lease?' },
  ],
};

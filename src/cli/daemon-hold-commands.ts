/** The rows of the commands that change a hold of the lock daemon's. */
import type { CommandEntry, OptionEntry } from './command-entry.js';
import { allowUnlocked, config, conflictExitCode, help, input, json, wait } from './shared-options.js';

/** Which daemon. */
export const daemonOptions: readonly OptionEntry[] = [
  { name: 'socket', value: 'PATH', help: "The daemon's socket (default: as the configuration says)." },
  config,
];
const whichHold = [
  'HOLD is a hold of the lock daemon (holdfastd), by id, guest name, uuid or pid: see holdfast list.',
];

export const daemonHoldCommands: readonly CommandEntry[] = [
  {
    name: 'attach',
    summary: 'Lock more for a guest that runs, before it gets a disk.',
    operands: 'HOLD',
    takes: 'hold',
    about: [
      ...whichHold,
      'Takes all that is named or nothing; the guest is told by whoever attaches the disk, when this has succeeded.',
    ],
    options: [
      {
        name: 'xml',
        value: 'FILE',
        repeat: true,
        help: 'The XML of a device, as virsh attach-device takes it, or of a domain; - is stdin.',
      },
      ...input.filter(({ name }) => ['connect', 'disk', 'lease'].includes(name)),
      allowUnlocked,
      wait,
      conflictExitCode,
      ...daemonOptions,
      json,
      help,
    ],
    examples: [
      {
        line: 'holdfast attach web1 --xml disk.xml && virsh attach-device web1 disk.xml',
        says: 'Give a guest a disk that nobody else may use.',
      },
      {
        line: 'holdfast attach 5783 --disk /var/lib/images/data.img',
        says: 'The same, for the guest of a pid.',
      },
    ],
  },
  {
    name: 'detach',
    summary: 'Give back what a guest that runs no longer has.',
    operands: 'HOLD NAME...',
    takes: 'hold and names',
    about: [
      ...whichHold,
      'NAME is a disk or lease of it: its path, its name in the guest (vdb), LOCKSPACE:KEY, or its identity.',
      'It is given back at once, whoever has it open still.',
    ],
    options: [...daemonOptions, json, help],
    examples: [
      {
        line: 'virsh detach-disk web1 vdb && holdfast detach web1 vdb',
        says: 'Take a disk from a guest, then let others have it.',
      },
    ],
  },
  {
    name: 'suspend',
    summary: 'Give the locks of a paused guest back, until it is to go on.',
    operands: 'HOLD',
    takes: 'hold',
    about: [
      ...whichHold,
      'Only where the drivers of the daemon can (holdfast drivers): the others keep the locks of a paused guest.',
    ],
    options: [...daemonOptions, json, help],
    examples: [
      {
        line: 'virsh suspend web1 && holdfast suspend web1',
        says: 'Pause a guest, and let others have its disks.',
      },
    ],
  },
  {
    name: 'resume',
    summary: 'Take the locks of a paused guest again, before it goes on.',
    operands: 'HOLD',
    takes: 'hold',
    about: [
      ...whichHold,
      'Ends with status 74 if somebody else had one of them meanwhile: the guest must not go on then;',
      'with 75 if somebody has one now: it stays suspended.',
    ],
    options: [conflictExitCode, ...daemonOptions, json, help],
    examples: [
      {
        line: 'holdfast resume web1 && virsh resume web1',
        says: 'Let a guest go on, if its disks are as it left them.',
      },
    ],
  },
  {
    name: 'release',
    summary: 'End a hold, though its guest runs.',
    operands: 'HOLD',
    takes: 'hold',
    about: [
      ...whichHold,
      'A hold ends by itself with its guest or command; until then others are kept out for a reason. Dangerous.',
    ],
    options: [...daemonOptions, json, help],
    examples: [{ line: 'holdfast release web1', says: 'Give back all that a guest holds.' }],
  },
];

/**
 * The one table of commands and options. Parsing, usage errors, `holdfast help` and docs/cli.md are made from it.
 * It is loaded at every start, so it holds data and imports nothing but data.
 */

import type { CommandEntry } from './command-entry.js';
import { daemonHoldCommands, daemonOptions } from './daemon-hold-commands.js';
import { leaseCommand } from './lease-command.js';
import {
  conflictExitCode,
  help,
  json,
  config,
  input,
  driver,
  wait,
  locking,
  onLost,
} from './shared-options.js';

export type { CommandEntry, Example, OptionEntry } from './command-entry.js';

export const commands: readonly CommandEntry[] = [
  {
    name: 'run',
    summary: 'Lock everything a guest writes, then run a command under these locks.',
    operands: '-- COMMAND [ARGUMENT...]',
    takes: 'behind dashes',
    about: [
      'Takes all the locks or none. Holdfast then becomes the command: same pid, same descriptors, no process left',
      'behind. The locks last as long as any process has the descriptors that the command inherits.',
      'If something is in use, it says who holds it, and ends with status 75 without starting the command.',
      "What Holdfast itself says goes to stderr: notes, for whom it waits, errors; stdout is the command's.",
    ],
    options: [
      ...input,
      ...locking,
      wait,
      {
        name: 'supervise',
        help:
          'Stay as the parent: keeps the locks for a command that closes its descriptors. ' +
          'Such a command runs on without locks if this parent is killed by SIGKILL.',
      },
      {
        ...onLost,
        help: 'What to do with the command if a lock is lost (default: poweroff, or what the domain XML says). With sanlock: poweroff or pause. With locks that nobody looks after, only together with --supervise.',
      },
      { name: 'quiet', short: 'q', help: 'No notes and no progress; errors only.' },
      json,
      help,
    ],
    examples: [
      {
        line: 'holdfast run --xml web1.xml -- qemu-system-x86_64 -drive file=web1.qcow2 ...',
        says: 'Start a guest that nobody else may start at the same time.',
      },
      {
        line: 'holdfast run --disk web1.qcow2:read:format=qcow2 --wait=5m -- qemu-img convert web1.qcow2 backup.raw',
        says: 'Copy an image; wait up to five minutes for whoever has it locked for writing, as QEMU and libvirt do.',
      },
      {
        line: 'holdfast run --domain web1 --qemu-lock=hold -- e2fsck -f /dev/vg/web1',
        says: "Keep libvirt's guest from starting while its disk is repaired.",
      },
    ],
  },
  {
    name: 'plan',
    summary: 'Show what would be locked, and whether it would be granted now. Locks nothing.',
    takes: 'none',
    about: ['Ends with status 75 if it would not be granted.'],
    options: [
      ...input,
      ...locking,
      { ...onLost, help: 'As it would be given to run: whether the drivers can do it.' },
      json,
      help,
    ],
    examples: [
      {
        line: 'virsh dumpxml web1 | holdfast plan --xml -',
        says: 'What is this guest made of, and is it free?',
      },
      { line: 'holdfast plan --disk /dev/sdb1 --json', says: 'The same as data, for one partition.' },
    ],
  },
  {
    name: 'who',
    summary: 'Say who holds or uses a disk, whoever it is. Locks nothing.',
    operands: '[PATH...]',
    takes: 'paths',
    about: [
      'For each disk, and what is below it: which guest or program has it, through which lock or without',
      'any, in which modes a run is refused because of that, and what to do. Finds what is mounted, swap, a',
      'loop device or a part of LVM too. A PATH is an image, a block device or a directory; it need not be',
      'readable. As root it sees more.',
      'Ends with status 0 if anything is in use, 1 if all is free and nothing was out of sight, 77 if nobody',
      'was found but not everything could be seen.',
      'With --watch: on a terminal a view that is kept up to date until q (status 0) or Ctrl-C (130);',
      'elsewhere one line for each event, until nobody reads them any longer (0) or a signal N (128+N).',
    ],
    options: [
      ...input.filter(({ name }) => name !== 'name'),
      driver,
      config,
      { name: 'watch', short: 'w', help: 'Go on looking, and show what changes.' },
      { name: 'verbose', short: 'v', help: 'Show the identity and the raw locks as well.' },
      { ...json, help: 'Print data instead of text; errors too. With --watch, one object a line.' },
      help,
    ],
    examples: [
      { line: 'holdfast who /var/lib/libvirt/images/web1.qcow2', says: 'Who has this image open?' },
      { line: 'holdfast who --domain web1', says: 'Who has any of the disks of this guest?' },
      { line: 'holdfast who --watch /dev/vg/web1', says: 'See who comes and goes.' },
      {
        line: 'holdfast who --json web1.qcow2 | jq -r ".[].holders[].pid"',
        says: 'The processes, for a script.',
      },
    ],
  },
  {
    name: 'list',
    summary: 'List what you hold now, and which processes keep it.',
    takes: 'none',
    about: [
      'Shows the holds of this user on this host, also if that is root; each only while its lock is there.',
      'Where a lock daemon (holdfastd) runs, its holds as well, and what libvirt has locked through it.',
      'Who else is in the way of a disk, holdfast who says.',
      'With --cluster: every hold in the lock cluster, by host and guest, and who waits.',
    ],
    options: [
      { name: 'cluster', help: 'List what all hosts of the lock cluster hold, not what you hold here.' },
      {
        ...driver,
        needs: 'cluster',
        help: 'The driver whose cluster it is (default: as the configuration says).',
      },
      ...daemonOptions,
      json,
      help,
    ],
    examples: [
      { line: 'holdfast list --json', says: 'The same as data.' },
      { line: 'holdfast list --cluster', says: 'Which guest runs on which host?' },
    ],
  },
  {
    name: 'break',
    summary: 'Break a lock that a dead host has in the lock cluster, on evidence.',
    operands: 'RESOURCE',
    takes: 'resource',
    about: [
      'RESOURCE is a path, or an identity as holdfast list --cluster --json shows it. Mostly nothing has to be',
      'broken: the locks of a dead host end with its lease, some seconds after its last renewal. A lock whose',
      'lease goes on is broken only if you state that its host is dead; that is kept in the cluster, with who',
      'said it. A holder that lives after all is told that its lock is lost. Whoever takes the lock next has a',
      'larger fencing token.',
      'Ends with status 75 if the evidence does not suffice, and 0 if nobody has it.',
    ],
    options: [
      {
        name: 'host-is-dead',
        value: 'HOST',
        needs: 'because',
        help: 'You have made certain that nothing runs any more on this host (its name, or its machine id). Dangerous.',
      },
      {
        name: 'because',
        value: 'TEXT',
        needs: 'host-is-dead',
        help: 'How that is known; it is kept with the break.',
      },
      { ...driver, help: 'The driver whose cluster it is (default: as the configuration says).' },
      conflictExitCode,
      config,
      json,
      help,
    ],
    examples: [
      {
        line: "holdfast break --host-is-dead=node7 --because='switched off by the rack at 12:05' net:rbd:pool/web1",
        says: 'Free a disk at once, without waiting for the end of the lease.',
      },
    ],
  },
  ...daemonHoldCommands,
  leaseCommand,
  {
    name: 'doctor',
    summary: 'Check this host, and disks on it, and say what to change.',
    operands: '[PATH...]',
    takes: 'paths',
    about: [
      'Looks for what would let two programs write to one disk: file systems without locks, libvirt that does not',
      'lock, guests and programs without locks, two paths that are one disk. A PATH is an image, a block device or a',
      'directory. Changes nothing, but for a private file beside each PATH, to try locks on, which it removes.',
      'Ends with status 0 if there is nothing to mend, 1 if it found a problem or a warning. docs/doctor.md has all',
      'findings. As root it sees more.',
    ],
    options: [
      { name: 'verbose', short: 'v', help: 'Show also what is as it should be, and the evidence.' },
      config,
      json,
      help,
    ],
    examples: [
      {
        line: 'holdfast doctor /var/lib/libvirt/images',
        says: 'Are disks in this folder safe from being written twice?',
      },
      { line: 'holdfast doctor --json web1.qcow2 /dev/vg/web1', says: 'Two disks, as data.' },
    ],
  },
  {
    name: 'serve',
    summary: "Be the lock daemon: for libvirt in virtlockd's place, and for everybody else.",
    takes: 'none',
    about: [
      'The same as holdfastd. What it holds outlives it: SIGHUP, a crash and a kill lose no lock. SIGTERM ends',
      'it, and its locks with it. docs/daemon.md has more.',
    ],
    options: [
      config,
      {
        ...driver,
        help: 'The drivers that holds of the API are locked with, in this order, joined by commas (default: fcntl). One that reaches a cluster locks for libvirt too.',
      },
      {
        name: 'on-lost',
        value: 'ACTION',
        choices: ['poweroff', 'pause', 'ignore'],
        help: 'What happens to guests, and owners of holds, whose lock in a cluster is lost (default: poweroff).',
      },
      {
        name: 'lockd-socket',
        value: 'PATH',
        help: "Where libvirt looks for its lock daemon (default: virtlockd's own place).",
      },
      {
        name: 'api-socket',
        value: 'PATH',
        help: 'Where everybody else does (default: api.sock in the runtime directory).',
      },
      {
        name: 'socket-dir',
        value: 'DIRECTORY',
        help: 'Both sockets in this directory: virtlockd-sock and api.sock.',
      },
      { name: 'group', value: 'NAME', help: 'Members of this group may look, and lock nothing.' },
      {
        name: 'take-over',
        help: 'Take the sockets and all that is held over from the holdfastd that runs, and let it end.',
      },
      {
        name: 'log-level',
        value: 'LEVEL',
        choices: ['fatal', 'error', 'warn', 'info', 'debug', 'trace'],
        help: 'How much is logged (default: info).',
      },
      {
        name: 'check',
        help: 'Check configuration and options, print what would be done, and start nothing.',
      },
      { ...json, help: 'Print errors as data.' },
      help,
    ],
    examples: [{ line: 'holdfast serve', says: 'Serve until SIGTERM.' }],
  },
  {
    name: 'drivers',
    summary: 'List the lock drivers, where each came from, and what it can do.',
    takes: 'none',
    about: [
      'Built in, then npm packages holdfast-driver-NAME, then /usr/lib/holdfast/drivers, /etc/holdfast/drivers and',
      '$HOLDFAST_DRIVER_PATH. The first one found wins.',
    ],
    options: [config, json, help],
    examples: [{ line: 'holdfast drivers', says: 'Which drivers are there?' }],
  },
  {
    name: 'help',
    summary: 'Explain a command.',
    operands: '[COMMAND]',
    takes: 'topic',
    about: [],
    options: [{ name: 'markdown', help: 'Print the whole reference as Markdown.' }, json, help],
    examples: [
      { line: 'holdfast help run', says: 'All options of run.' },
      { line: 'holdfast help --json', says: 'Commands, options, examples and exit statuses as data.' },
    ],
  },
  {
    name: 'version',
    summary: 'Print the version.',
    takes: 'none',
    about: [],
    options: [json, help],
    examples: [{ line: 'holdfast version', says: 'Which Holdfast is this?' }],
  },
];

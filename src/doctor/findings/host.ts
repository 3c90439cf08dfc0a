/** Findings: What can be seen from here, and what Holdfast keeps. */
import type { FindingEntry } from '../finding-entry.js';

export const host = {
  'runtime-directory-safe': {
    level: 'fine',
    what: 'The runtime directory is yours alone, or will be made when it is needed.',
    why: 'Locks without a file of their own and records are in it.',
    remedy: '',
  },
  'runtime-directory-unsafe': {
    level: 'problem',
    what: 'The runtime directory, or a folder on the way to it, is in the hands of others.',
    why: 'Others could move locks and records aside, so nothing is locked there.',
    remedy: 'Mend or remove it, or name another directory with HOLDFAST_RUNTIME_DIR.',
  },
  'dead-records': {
    level: 'note',
    what: 'There are records of holds that ended.',
    why: 'A record without its lock is believed by nobody: only room is lost.',
    remedy: '`holdfast list` removes them.',
  },
  'records-alive': {
    level: 'fine',
    what: 'There is no record of a hold that ended.',
    why: 'A record is believed only while its lock is held.',
    remedy: '',
  },
  'machine-id-set': {
    level: 'fine',
    what: 'The host has an id.',
    why: 'It is a part of the identity of local disks, and of owners.',
    remedy: '',
  },
  'machine-id-missing': {
    level: 'warning',
    what: '/etc/machine-id is missing, empty or not set up.',
    why: 'The id of the boot has to do instead, which is new at each boot; in an image for many hosts that is how it should be, on a host it is not.',
    remedy: 'Run systemd-machine-id-setup, or dbus-uuidgen --ensure=/etc/machine-id.',
  },
  'leases-on': {
    level: 'fine',
    what: 'The kernel tells whether a file is open for writing.',
    why: 'A file lease tells it in microseconds, and sees what no descriptor shows.',
    remedy: '',
  },
  'leases-off': {
    level: 'note',
    what: 'The kernel grants no file leases (fs.leases-enable = 0).',
    why: 'Every lock costs a walk over /proc, and a writable memory map whose descriptor is closed is not seen.',
    remedy: 'sysctl fs.leases-enable=1',
  },
  'processes-visible': {
    level: 'fine',
    what: 'The processes of this host can be seen.',
    why: 'Who holds a disk is found by what processes have open.',
    remedy: '',
  },
  'processes-hidden': {
    level: 'warning',
    what: '/proc is mounted so that the processes of other users do not show (hidepid).',
    why: 'Who uses a disk without a lock, or holds one, is not found among them.',
    remedy: 'Run it as root, or mount /proc with gid= of a group that you are in.',
  },
  'processes-of-others': {
    level: 'note',
    what: 'You are not root.',
    why: 'What the processes of other users have open cannot be seen: guests and writers among them were not examined.',
    remedy: 'Run it as root to examine them too.',
  },
  'processes-closed': {
    level: 'note',
    what: 'Some processes cannot be looked into, not even by root.',
    why: 'A guest or a writer among them is not found: nobody can say that a disk is free.',
    remedy: "Run it on the host itself, with all of root's capabilities (CAP_SYS_PTRACE).",
  },
  'host-not-seen': {
    level: 'warning',
    what: 'This runs in a container or another pid namespace.',
    why: 'Locks on files that are shared with the host work, but writers without a lock outside the container cannot be seen.',
    remedy: 'Run it on the host, or start the container with --pid=host.',
  },
  'check-failed': {
    level: 'warning',
    what: 'A check could not be made.',
    why: 'What it would have found is not known.',
    remedy: 'See the evidence; if it says nothing to you, please report it.',
  },
} as const satisfies Record<string, FindingEntry>;

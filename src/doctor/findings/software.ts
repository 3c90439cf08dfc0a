/** Findings: Node, the kernel, programs, the configuration. */
import type { FindingEntry } from '../finding-entry.js';

export const software = {
  'node-supported': {
    level: 'fine',
    what: 'Node is new enough.',
    why: 'Holdfast is tested with Node 20.19 and later.',
    remedy: '',
  },
  'node-too-old': {
    level: 'problem',
    what: 'Node is older than 20.19.',
    why: 'Holdfast uses what older versions do not have, and is not tested with them.',
    remedy: 'Install Node 20.19 or later.',
  },
  'kernel-supported': {
    level: 'fine',
    what: 'The kernel has all that is needed.',
    why: 'Locks are open file description locks (Linux 3.15); processes are signalled through pidfds (Linux 5.3).',
    remedy: '',
  },
  'kernel-without-locks': {
    level: 'problem',
    what: 'The kernel is older than 3.15.',
    why: 'It has no open file description locks, so nothing can be locked.',
    remedy: 'Use a newer kernel.',
  },
  'kernel-old': {
    level: 'warning',
    what: 'The kernel is older than 5.3.',
    why: 'Without pidfds `run --supervise` cannot signal what it supervises, so it cannot stop a command on loss.',
    remedy: 'Use a newer kernel, or `run` without --supervise.',
  },
  'native-calls-work': {
    level: 'fine',
    what: 'Native calls work.',
    why: 'fcntl(2) has no function in Node; the package koffi calls it.',
    remedy: '',
  },
  'native-calls-missing': {
    level: 'problem',
    what: 'The C library cannot be called.',
    why: 'fcntl(2) has no function in Node; without the package koffi nothing can be locked.',
    remedy:
      'Install Holdfast again, on this machine and with optional dependencies; the C library has to be glibc.',
  },
  'tools-found': {
    level: 'fine',
    what: 'The programs that Holdfast asks are installed.',
    why: '`qemu-img` tells what is below an image, `virsh` what a guest is made of.',
    remedy: '',
  },
  'qemu-img-missing': {
    level: 'note',
    what: '`qemu-img` is not installed.',
    why: 'Base images are found only below qcow2: of other formats (vmdk, qed) the chain cannot be read.',
    remedy: 'Install it (Debian: qemu-utils) if there are such images.',
  },
  'virsh-missing': {
    level: 'note',
    what: 'libvirt is configured here, and `virsh` is not installed.',
    why: 'Neither --domain nor volumes of libvirt can be resolved.',
    remedy: 'Install it (Debian: libvirt-clients), or give --xml.',
  },
  'configuration-read': {
    level: 'fine',
    what: 'The configuration can be read.',
    why: 'With a wrong one every command ends with status 78.',
    remedy: '',
  },
  'configuration-passed-over': {
    level: 'note',
    what: "HOME is another user's, and the configuration there may not be read.",
    why: "It is passed over: the defaults and the system's file count.",
    remedy: "Set HOME to this user's own (sudo -H, setpriv with --reset-env), or name a file with --config.",
  },
  'configuration-wrong': {
    level: 'problem',
    what: 'The configuration is wrong, or others could change it.',
    why: 'Every command ends with status 78, and nothing is locked.',
    remedy: 'Mend the file at the place named.',
  },
} as const satisfies Record<string, FindingEntry>;

/** Findings: The disks themselves, and the guests that use them. */
import type { FindingEntry } from '../finding-entry.js';

export const disks = {
  'disk-missing': {
    level: 'problem',
    what: 'One of several paths leads to no disk.',
    why: 'Nothing could be said of it; the others were examined.',
    remedy: 'Check the path.',
  },
  'disk-unused': {
    level: 'fine',
    what: 'Nobody writes to the disk without a lock.',
    why: 'Such use would be refused when the disk is locked for writing.',
    remedy: '',
  },
  'same-disk': {
    level: 'warning',
    what: 'Two of the paths are the same disk: a symlink, a hard link, a bind mount, two mounts of one export.',
    why: 'Holdfast knows, but what goes by paths does not: libvirt with a lockspace directory locks each name for itself.',
    remedy: 'Use one path everywhere, in domain XML as well.',
  },
  'part-of-disk': {
    level: 'warning',
    what: 'One of the paths is a part of another, or stands on it: a partition of a disk, a loop device on a file, a logical volume.',
    why: 'Holdfast locks what is around a disk too, but other programs do not: both could be written at once.',
    remedy: 'Give a guest one of the two, and let nobody use the other.',
  },
  'more-names': {
    level: 'note',
    what: 'The file has more names (hard links) than this one.',
    why: 'Holdfast knows it by any of them, but what goes by paths does not.',
    remedy: 'Find them with `find DIRECTORY -xdev -samefile FILE`, and remove those that nobody needs.',
  },
  'used-by-kernel': {
    level: 'warning',
    what: 'The disk is mounted, is swap, or has a device standing on it.',
    why: 'A guest that writes to it meanwhile destroys the file system; `run` refuses it.',
    remedy: 'Unmount it, or detach the device, before a guest uses it.',
  },
  'written-without-lock': {
    level: 'problem',
    what: 'A program has the disk open for writing and has no lock.',
    why: 'It asked nobody and would not notice a guest: both would write. `run` refuses the disk meanwhile.',
    remedy: 'Stop it, and start it with `holdfast run` the next time.',
  },
  'guests-locked': {
    level: 'fine',
    what: 'Every guest that runs has locks on the images of its command line.',
    why: 'A guest without a lock is kept apart from nobody.',
    remedy: '',
  },
  'guest-locking-off': {
    level: 'warning',
    what: 'A guest runs with locking=off for a writable image.',
    why: "QEMU's own lock is what qemu-img, libguestfs and other guests look for: they would not see this one.",
    remedy: 'Remove locking=off and start the guest again.',
  },
  'guest-without-lock': {
    level: 'problem',
    what: 'A guest has an image open for writing, and nobody has a lock on it.',
    why: 'Any other program, another guest too, can write to it and is not stopped.',
    remedy: 'Stop the guest, and start it under `holdfast run`, without locking=off.',
  },
  'guests-unseen': {
    level: 'note',
    what: 'What some guests have open cannot be seen.',
    why: 'Whether they have locks is not known.',
    remedy: 'Run it as root.',
  },
} as const satisfies Record<string, FindingEntry>;

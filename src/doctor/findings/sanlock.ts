/** Findings: sanlock. */
import type { FindingEntry } from '../finding-entry.js';

export const sanlock = {
  'sanlock-not-running': {
    level: 'problem',
    what: 'sanlock is to be used, and its daemon does not run.',
    why: 'No lease can be had: commands under the driver sanlock are refused, and so are guests of a libvirt that is set to it.',
    remedy: 'Start it: systemctl enable --now sanlock (and wdmd, which watches it).',
  },
  'sanlock-host-id-missing': {
    level: 'problem',
    what: 'libvirt is to make leases for disks, and has no number for this host.',
    why: 'libvirt does not start: each host needs a number of its own in the lockspace of disks.',
    remedy: 'Set host_id in qemu-sanlock.conf, from 1 to 2000, on each host another one.',
  },
  'sanlock-lockspace-missing': {
    level: 'warning',
    what: 'This host has not joined the lockspace of disks.',
    why: 'Until it has, no lease of a disk can be had here. libvirt joins it when it starts, `holdfast run` when it needs it; that takes 20 to 200 seconds.',
    remedy: 'Start libvirt again, and see /var/log/sanlock.log if it does not help.',
  },
  'sanlock-disks-unlocked': {
    level: 'warning',
    what: 'libvirt is set to sanlock without auto_disk_leases: it locks no disks, only leases.',
    why: 'What has no <lease> in its XML is not locked; a lease keeps out those who ask for the same lease, not those who open the disk.',
    remedy: 'Set auto_disk_leases = 1, host_id and disk_lease_dir in qemu-sanlock.conf, and restart libvirt.',
  },
  'sanlock-running': {
    level: 'fine',
    what: 'The daemon of sanlock runs.',
    why: 'Leases can be had in the lockspaces that this host has joined.',
    remedy: '',
  },
  'libvirt-locks-sanlock': {
    level: 'fine',
    what: 'libvirt and Holdfast both lock through sanlock.',
    why: 'They ask for the same leases, so they exclude each other, on every host that shares them.',
    remedy: '',
  },
} as const satisfies Record<string, FindingEntry>;

/** Findings: libvirt's locks. */
import type { FindingEntry } from '../finding-entry.js';

export const libvirt = {
  'libvirt-absent': {
    level: 'fine',
    what: 'libvirt is not configured here.',
    why: 'There are no settings of libvirt to agree with.',
    remedy: '',
  },
  'libvirt-locks-on': {
    level: 'fine',
    what: 'libvirt locks the disks of its guests through virtlockd.',
    why: 'virtlockd and Holdfast lock the same byte of the same file, so they exclude each other.',
    remedy: '',
  },
  'libvirt-locks-off': {
    level: 'warning',
    what: 'libvirt takes no locks: lock_manager is commented out, or is "nop".',
    why: "Holdfast sees libvirt's guests by QEMU's own lock, but libvirt does not see a disk that `holdfast run` holds for a command that is not QEMU, and starts a guest on it.",
    remedy:
      'Set lock_manager = "lockd" in qemu.conf and restart libvirt, or use --qemu-lock=hold for such commands.',
  },
  'libvirt-other-manager': {
    level: 'warning',
    what: 'libvirt uses another lock manager than lockd.',
    why: "Its locks are elsewhere (sanlock's are in lease areas): Holdfast's driver fcntl does not meet them, and only QEMU's own lock stands between the two.",
    remedy: 'Set lock_manager = "lockd", or use --qemu-lock=hold for commands that are not QEMU.',
  },
  'libvirt-settings-unseen': {
    level: 'note',
    what: "libvirt's settings cannot be read.",
    why: 'Which lock manager is set, if any, is not known: qemu.conf is for root alone.',
    remedy: 'Run it as root.',
  },
  'libvirt-disks-unlocked': {
    level: 'warning',
    what: 'lockd is set, but auto_disk_leases = 0: libvirt locks no disks, only leases.',
    why: 'What has no <lease> in its XML is not locked; a lease keeps out those who ask for the same lease, not those who open the disk.',
    remedy: 'Remove auto_disk_leases = 0 from qemu-lockd.conf and restart libvirt.',
  },
  'lockspace-directory': {
    level: 'note',
    what: 'libvirt locks files in a lockspace directory, not the images.',
    why: 'Holdfast locks there as well, so both exclude each other; but the files go by the path in the XML: to libvirt a disk under two names is two disks.',
    remedy: 'Use one path for each disk in all domain XML.',
  },
  'lockspace-not-shared': {
    level: 'problem',
    what: "libvirt's lockspace directory is on this host alone, the disk on storage that others share.",
    why: 'Each host locks in a directory of its own, so guests on two hosts can have the same disk.',
    remedy:
      'Put the lockspace directory onto the shared storage, or remove the setting: then the image itself is locked.',
  },
  'libvirt-not-restarted': {
    level: 'warning',
    what: "libvirt's settings are newer than its running daemon.",
    why: 'They are read at start: what the file says is not what is done.',
    remedy: 'Restart libvirt (systemctl restart libvirtd, or virtqemud); guests keep running.',
  },
  'virtlockd-running': {
    level: 'fine',
    what: 'virtlockd answers, or will be started when it is asked; or holdfastd does in its place.',
    why: 'With lock_manager = "lockd" no guest of libvirt can start without it.',
    remedy: '',
  },
  'virtlockd-not-running': {
    level: 'problem',
    what: 'lock_manager is "lockd", and virtlockd does not run.',
    why: 'No guest of libvirt can start, pause or resume; those that run lost the locks that virtlockd held.',
    remedy:
      'Start it: systemctl enable --now virtlockd.socket. Guests that run now get locks when they are paused and resumed.',
  },
} as const satisfies Record<string, FindingEntry>;

/** Findings: the lock daemon holdfastd. */
import type { FindingEntry } from '../finding-entry.js';

export const holdfastd = {
  'holdfastd-running': {
    level: 'fine',
    what: 'holdfastd runs.',
    why: 'It keeps locks for libvirt and for others, also when it is replaced, or killed and started again.',
    remedy: '',
  },
  'holdfastd-absent': {
    level: 'fine',
    what: 'holdfastd does not run.',
    why: 'Nothing needs it: `holdfast run` locks without a daemon, and libvirt with virtlockd.',
    remedy: '',
  },
  'lock-daemons-both': {
    level: 'warning',
    what: 'virtlockd and holdfastd run both.',
    why: 'libvirt asks the one that has its socket. What the other one keeps for a guest it cannot give back, and is refused itself.',
    remedy: 'Keep one of them; docs/guides/replace-virtlockd.md leads from either to the other.',
  },
} as const satisfies Record<string, FindingEntry>;

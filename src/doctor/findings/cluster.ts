/** Findings: the servers of a lock cluster. */
import type { FindingEntry } from '../finding-entry.js';

export const cluster = {
  'cluster-decides': {
    level: 'fine',
    what: 'The lock cluster answers, and a majority of its servers is there.',
    why: 'Locks can be taken and renewed.',
    remedy: '',
  },
  'cluster-undecided': {
    level: 'problem',
    what: 'No server of the lock cluster that the configuration names can decide anything.',
    why: 'Nothing new is locked, and what is held is stopped when its lease cannot be renewed.',
    remedy: 'See the evidence, and etcdctl endpoint status --cluster; start the servers that are missing.',
  },
  'cluster-server-away': {
    level: 'warning',
    what: 'A server of the lock cluster does not answer, or is cut off from the others.',
    why: 'The others do its work, but of three servers one may be away, not two.',
    remedy: 'See etcdctl endpoint status --cluster, and start it; or take it out of `endpoints`.',
  },
  'cluster-full': {
    level: 'problem',
    what: 'etcd has raised the alarm NOSPACE.',
    why: 'Its database has reached its quota: nothing new is locked until that is mended.',
    remedy:
      'Compact and defragment it, then etcdctl alarm disarm; let etcd compact by itself (--auto-compaction-retention).',
  },
  'cluster-version': {
    level: 'warning',
    what: 'The version of etcd has a fault that matters to locks.',
    why: 'A guest can be stopped without need; two holders it never lets in.',
    remedy: 'Upgrade the servers one after the other: no guest has to be stopped for it.',
  },
} as const satisfies Record<string, FindingEntry>;

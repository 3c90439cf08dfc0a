/** A lease with a path is the file PATH/LOCKSPACE/KEY, as virtlockd has it; offsets into one file are sanlock's. */
import { lstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { MappedRequest } from '../../driver/contract.js';
import type { Resource } from '../../vocabulary.js';

type Lease = NonNullable<Resource['lease']>;

/** Why a lease cannot be locked; undefined: it can, as far as can be seen before. */
export function leaseFault(lease: Lease): Extract<MappedRequest, { can: false }> | undefined {
  const improper = [lease.lockspace, lease.key].find(
    (name) => name === '' || name === '.' || name === '..' || name.includes('/'),
  );
  if (improper !== undefined) {
    const reason = `'${improper}' cannot be the name of a lockspace or key: it has to be a file name`;
    return { can: false, reason };
  }
  if (lease.offset !== 0) {
    return {
      can: false,
      reason: 'a lease at an offset is one of sanlock; here each lease is a file',
      remedy: 'Use the sanlock driver, or offset 0.',
    };
  }
  const { path = '', lockspace, key } = lease;
  const directory = join(path, lockspace);
  for (const folder of [path, directory]) {
    const found = kindOf(folder, statSync);
    if (found !== undefined && found !== 'directory') return misplaced(`${folder} is not a directory`);
  }
  const file = join(directory, key);
  // A symlink is never followed in a lockspace: whoever made it would decide which file is locked.
  const kind = kindOf(file, lstatSync);
  return kind === undefined || kind === 'file' ? undefined : misplaced(`${file} is not a regular file`);
}

function misplaced(reason: string): Extract<MappedRequest, { can: false }> {
  const remedy = 'PATH has to be a directory, in which the file LOCKSPACE/KEY is locked.';
  return { can: false, reason, remedy, code: 'NOT_A_DISK' };
}

/** Undefined: not there, or not to be seen; then the lock says why. */
function kindOf(path: string, look: typeof statSync): 'file' | 'directory' | 'other' | undefined {
  try {
    const stats = look(path);
    return stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : 'other';
  } catch {
    return undefined;
  }
}

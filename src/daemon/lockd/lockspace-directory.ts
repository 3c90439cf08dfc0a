/** The directories of lockspaces. */
import { mkdirSync, statSync } from 'node:fs';
import type { RpcError } from '../../protocol/rpc-error.js';
import { isLocalFileSystem } from '../../system/local-file-system.js';
import * as answers from './answers.js';

const directoryMode = 0o700;
/** Who could write there could put another file in the place of a locked one. */
const writableByOthers = 0o022;

/**
 * Makes the directory (0700) where it is missing, with those that lead to it. One that is there may be read by
 * others, whom the mode of its files keeps out, but not written; so it is this user's or root's. (A server that shares
 * it may well say that it is somebody else's: NFS calls root `nobody`.) Undefined: it is fit.
 */
export function makeLockspace(path: string): RpcError | undefined {
  if (!path.startsWith('/')) return answers.refused(`Lockspace location ${path} is no absolute path`);
  try {
    const known = statSync(path, { throwIfNoEntry: false });
    if (known === undefined) {
      mkdirSync(path, { mode: directoryMode, recursive: true });
      return undefined;
    }
    if (!known.isDirectory()) return answers.lockspaceIsNoDirectory(path);
    const isOwn = known.uid === 0 || known.uid === process.geteuid?.();
    if (!isOwn && isLocalFileSystem(path)) {
      return answers.refused(`Lockspace location ${path} belongs to user ${known.uid}`);
    }
    if ((known.mode & writableByOthers) === 0) return undefined;
    const octal = (known.mode & 0o7777).toString(8).padStart(4, '0');
    return answers.refused(`Lockspace location ${path} can be written by others (mode ${octal})`);
  } catch (error) {
    return answers.cannotCreateLockspace(path, Math.abs((error as NodeJS.ErrnoException).errno ?? 0));
  }
}

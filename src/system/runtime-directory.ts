/**
 * Where locks that have no file of their own, records and sockets live: as root `/run/holdfast`, else
 * `$XDG_RUNTIME_DIR/holdfast`, else `/tmp/holdfast-UID`; `$HOLDFAST_RUNTIME_DIR` goes before all.
 *
 * Invariant: a directory that is used belongs to this user alone (0700, no symlink), so that nobody else can
 * put a link, a lock file or a record into it.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '../errors.js';

/** The absolute path of the runtime directory; nothing is created. */
export function runtimeDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const chosen = environment['HOLDFAST_RUNTIME_DIR'];
  if (chosen !== undefined && chosen !== '') {
    if (!chosen.startsWith('/')) {
      throw new HoldfastError('CONFIG', `HOLDFAST_RUNTIME_DIR must be an absolute path, but is '${chosen}'`, {
        remedy: 'Set it to an absolute path, or unset it.',
      });
    }
    return chosen;
  }
  const uid = process.geteuid?.() ?? 0;
  if (uid === 0) return '/run/holdfast';
  const session = environment['XDG_RUNTIME_DIR'];
  return session?.startsWith('/') === true ? join(session, 'holdfast') : `/tmp/holdfast-${uid}`;
}

const checked = new Set<string>();

/**
 * Makes `directory` (0700, with its parents) if it is missing, and checks that it is this user's alone.
 * Throws `NOT_PERMITTED`. The check is made once a process; another user cannot undo its outcome.
 */
export function privateDirectory(directory: string): string {
  if (checked.has(directory)) return directory;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const stats = lstatSync(directory);
    const uid = process.geteuid?.() ?? 0;
    const fault = !stats.isDirectory()
      ? 'it is not a directory'
      : stats.uid !== uid
        ? `it belongs to user ${stats.uid}, not to user ${uid}`
        : (stats.mode & 0o022) !== 0
          ? 'others can write to it'
          : undefined;
    if (fault !== undefined) {
      throw new HoldfastError('NOT_PERMITTED', `${directory} cannot be used for locks: ${fault}`, {
        remedy: 'Mend or remove it, or name another with HOLDFAST_RUNTIME_DIR.',
      });
    }
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('NOT_PERMITTED', `${directory} cannot be made: ${(cause as Error).message}`, {
      cause,
      remedy: 'Name a directory that you may write with HOLDFAST_RUNTIME_DIR.',
    });
  }
  checked.add(directory);
  return directory;
}

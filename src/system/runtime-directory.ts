/**
 * Where locks that have no file of their own, records and sockets live: as root `/run/holdfast`, else
 * `$XDG_RUNTIME_DIR/holdfast`, else `/tmp/holdfast-UID`; `$HOLDFAST_RUNTIME_DIR` goes before all.
 *
 * Invariant: a directory that is used belongs to this user alone (0700, no symlink), so that nobody else can
 * put a link, a lock file or a record into it.
 */
import { lstatSync, mkdirSync, readlinkSync, type Stats } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { causeText, HoldfastError } from '../errors.js';

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

/** As the kernel: path_resolution(7), MAXSYMLINKS. */
const symlinksMax = 40;
const writableByOthers = 0o022;
const sticky = 0o1000;

/**
 * Makes `directory` (0700, with its parents) if it is missing, and checks that it is this user's alone, and that
 * nobody else can put another in its place: every folder and symlink on the way belongs to root or this user.
 * Throws `NOT_PERMITTED`. The check is made once a process; another user cannot undo its outcome.
 */
export function privateDirectory(directory: string): string {
  if (checked.has(directory)) return directory;
  const uid = process.geteuid?.() ?? 0;
  const { path, stats } = walkTo(directory, uid);
  if (path !== resolve(directory) && lstatSync(directory).isSymbolicLink()) {
    throw unusable(directory, 'it is a symlink');
  }
  if (stats.uid !== uid) throw unusable(directory, `it belongs to user ${stats.uid}, not to user ${uid}`);
  if ((stats.mode & writableByOthers) !== 0) throw unusable(directory, 'others can write to it');
  checked.add(directory);
  return directory;
}

/** Goes there name by name, as the kernel does, and makes what is missing. */
function walkTo(directory: string, uid: number): { readonly path: string; readonly stats: Stats } {
  const names = (path: string): string[] => path.split(sep).filter((name) => name !== '');
  let left = names(resolve(directory));
  let path: string = sep;
  let stats = lstatSync(path);
  for (let symlinks = 0; left.length > 0;) {
    const [name = '', ...rest] = left;
    const next = join(path, name);
    stats = lstatOrMake(next, directory);
    if (stats.uid !== 0 && stats.uid !== uid)
      throw unusable(directory, `${next} belongs to user ${stats.uid}`);
    left = rest;
    if (stats.isSymbolicLink()) {
      if (++symlinks > symlinksMax) throw unusable(directory, 'too many symlinks lead to it');
      left = [...names(resolve(path, readlinkSync(next))), ...rest];
      path = sep;
      continue;
    }
    if (!stats.isDirectory()) throw unusable(directory, `${next} is not a directory`);
    // In a folder with the sticky bit (/tmp) others can add names, but neither rename nor remove what is ours.
    if ((stats.mode & writableByOthers) !== 0 && (stats.mode & sticky) === 0) {
      throw unusable(directory, `others can write to ${next}`);
    }
    path = next;
  }
  return { path, stats };
}

function lstatOrMake(path: string, directory: string): Stats {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats !== undefined) return stats;
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // Else another process was faster.
    }
    return lstatSync(path);
  } catch (cause) {
    throw unusable(directory, causeText(cause), cause);
  }
}

function unusable(directory: string, why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('NOT_PERMITTED', `${directory} cannot be used for locks and records: ${why}`, {
    remedy: 'Mend or remove it, or name another directory with HOLDFAST_RUNTIME_DIR.',
    ...(cause === undefined ? {} : { cause }),
  });
}

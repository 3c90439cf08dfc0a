/**
 * The sockets that are served, wherever they come from: given by the service manager, or bound here.
 *
 * A socket's file that is left over is replaced only while the lock file beside it is held, and after a connection to it was
 * refused by the kernel: so nobody's socket is ever taken away from under it.
 */
import { chmodSync, chownSync, closeSync, lstatSync, mkdirSync, statSync, unlinkSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { causeText, HoldfastError } from '../../errors.js';
import { peerCredentials } from '../../system/peer-credentials.js';
import { readProcess } from '../../system/process.js';
import { privateDirectory } from '../../system/runtime-directory.js';
import { reloadCommand, serviceStartedAs } from '../../system/service-unit.js';
import { connectUnix, listenUnix } from '../../system/unix-socket.js';
import { dropGuard, takeGuard } from './guard-file.js';

export interface WantedSocket {
  readonly name: string;
  readonly path: string;
  /** Its members may connect. */
  readonly gid?: number;
  /** Of the folder, where it is missing: one that others have to reach (libvirt's own has 0755). Usually this user's alone. */
  readonly folderMode?: number;
}

/** What is served, as descriptors: it can be handed to another process as it is. */
export interface ServedSockets {
  /** By name. */
  readonly sockets: Readonly<Record<string, number>>;
  /** By path: the socket's own file, where it was made here. */
  readonly files: readonly string[];
  /** By path: locks that say that somebody serves. */
  readonly guards: Readonly<Record<string, number>>;
}

/** As many connections as come at once when a host starts all its guests. */
const backlog = 4096;
const ownerOnly = 0o177;
const guardMode = 0o600;
/** As virtlockd makes its own. */
const pidFileMode = 0o644;
const groupMay = 0o660;
const groupMaySearch = 0o710;

/**
 * Opens all of them or none. `pidFile`: virtlockd's, held as it holds it. `activated`: those that the service manager opened
 * (socket-activation.ts); where this throws they are the caller's still. `keeperSocket`: there is one keeper for each, so one for each
 * runtime directory, whose journal and records are its daemon's alone.
 * Throws `IN_USE` where somebody serves already, `NOT_PERMITTED`, `CONFIG`.
 */
export function openSockets(
  wanted: readonly WantedSocket[],
  pidFile: string | undefined,
  activated: Readonly<Record<string, number>>,
  keeperSocket?: string,
): ServedSockets {
  const sockets: Record<string, number> = {};
  const files: string[] = [];
  const guards: Record<string, number> = {};
  try {
    if (pidFile !== undefined) guards[pidFile] = guard(pidFile, pidFileMode, pidFile);
    if (keeperSocket !== undefined) {
      const lock = `${keeperSocket}.lock`;
      guards[lock] = guard(lock, guardMode, keeperSocket);
    }
    for (const socket of wanted) {
      const { name, path, folderMode } = socket;
      if (name in activated) {
        letGroupInTo(socket);
        continue;
      }
      const lock = `${path}.lock`;
      if (folderMode !== undefined) makeFolder(dirname(path), folderMode);
      guards[lock] = guard(lock, guardMode, path);
      sockets[name] = bindSocket(socket);
      files.push(path);
    }
    return { sockets: { ...activated, ...sockets }, files, guards };
  } catch (error) {
    closeSockets({ sockets, files, guards });
    throw error;
  }
}

/**
 * What another keeper served, but for sockets that the service manager opened for this one: their names lead to them now, and whoever
 * connected would wait for ever where only the old ones are served. `closeOthers`: to be called when the other keeper has ended.
 */
export function preferActivated(
  { sockets, files, guards }: ServedSockets,
  wanted: readonly WantedSocket[],
  activated: Readonly<Record<string, number>>,
): { readonly served: ServedSockets; readonly closeOthers: () => void } {
  const replaced = wanted.filter(({ name }) => name in activated);
  for (const socket of replaced) letGroupInTo(socket);
  const locks = replaced.map(({ path }) => `${path}.lock`);
  const others = Object.entries(guards).filter(([path]) => locks.includes(path));
  return {
    served: {
      sockets: { ...sockets, ...activated },
      files: files.filter((path) => replaced.every((one) => one.path !== path)),
      guards: Object.fromEntries(Object.entries(guards).filter(([path]) => !locks.includes(path))),
    },
    closeOthers: () => {
      for (const { name } of replaced) if (sockets[name] !== undefined) closeSync(sockets[name]);
      for (const [path, fd] of others) dropGuard(path, fd);
    },
  };
}

/** Closes all, and removes what was made here. */
export function closeSockets({ sockets, files, guards }: ServedSockets): void {
  for (const path of files) removeQuietly(path);
  for (const fd of Object.values(sockets)) closeSync(fd);
  for (const [path, fd] of Object.entries(guards)) dropGuard(path, fd);
}

function guard(path: string, mode: number, serves: string): number {
  privateDirectory(dirname(path));
  let taken: ReturnType<typeof takeGuard>;
  try {
    taken = takeGuard(path, mode);
  } catch (cause) {
    throw cannotBe('locked', path, cause);
  }
  if (typeof taken === 'number') return taken;
  throw served(serves, taken.takenBy);
}

/** @param what `locked` or `made`. */
function cannotBe(what: string, path: string, cause: unknown): HoldfastError {
  const { code } = cause as NodeJS.ErrnoException;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return new HoldfastError('NOT_PERMITTED', `${path} cannot be ${what}: ${causeText(cause)}`, {
    cause,
    remedy: isFull
      ? `Make room in ${dirname(path)}, or name another place: holdfastd --help says how.`
      : `Run it as the user whose ${dirname(path)} is, or name another place: holdfastd --help says how.`,
  });
}

/** Whether it is fit is looked at later. */
function makeFolder(path: string, mode: number): void {
  try {
    mkdirSync(path);
    chmodSync(path, mode);
  } catch {
    // It is there, or cannot be made, which is said later.
  }
}

function bindSocket({ path, gid }: WantedSocket): number {
  removeLeftOver(path);
  const umask = process.umask(ownerOnly);
  try {
    const fd = listenUnix(path, backlog);
    if (gid !== undefined) letGroupIn(path, gid);
    return fd;
  } catch (cause) {
    throw cannotBe('made', path, cause);
  } finally {
    process.umask(umask);
  }
}

/** Who may connect has to reach the socket: the folder can be searched, and not be read. */
function letGroupIn(path: string, gid: number): void {
  const folder = dirname(path);
  const { uid, mode } = statSync(folder);
  const isOwn = uid === process.geteuid?.();
  if (isOwn && (mode & 0o001) === 0) {
    chownSync(folder, -1, gid);
    chmodSync(folder, (mode & 0o7777) | groupMaySearch);
  }
  chownSync(path, -1, gid);
  chmodSync(path, groupMay);
}

/**
 * To a socket that is there already: the service manager's unit knows nothing of this configuration, and the keeper nothing of a newer
 * one. Where a unit has another path, it says itself who may connect.
 */
export function letGroupInTo({ path, gid }: WantedSocket): void {
  if (gid !== undefined && isSocketFile(path)) letGroupIn(path, gid);
}

function isSocketFile(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

/** Under the lock file's lock. */
function removeLeftOver(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new HoldfastError('NOT_PERMITTED', `${path} is there, and is no socket`, {
      remedy: 'Remove it, or name another place.',
    });
  }
  let fd: number;
  try {
    fd = connectUnix(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    // unix(7): nobody listens on it, and nobody can begin to.
    if (code === 'ECONNREFUSED') return removeQuietly(path);
    throw new HoldfastError('NOT_PERMITTED', `${path} is there, and ${causeText(cause)}`, { cause });
  }
  try {
    throw served(path, peerCredentials(fd).pid);
  } finally {
    closeSync(fd);
  }
}

function served(path: string, pid: number | undefined): HoldfastError {
  const program = pid === undefined ? undefined : programOf(pid);
  const who = program === undefined ? 'somebody' : `${program} (pid ${pid})`;
  const unit = pid === undefined ? undefined : serviceStartedAs(pid);
  const takesItsPlace = unit === undefined ? 'holdfastd --take-over' : reloadCommand(unit);
  return new HoldfastError('IN_USE', `${path} is served by ${who} already`, {
    resource: path,
    remedy:
      program === 'virtlockd' || program === 'systemd'
        ? 'Pause the guests of libvirt first: virtlockd ends those that it has locks for when it stops. Then: systemctl disable --now virtlockd.service virtlockd.socket virtlockd-admin.socket'
        : `Stop it, or put a new one in its place: ${takesItsPlace}`,
  });
}

/** What people call it: for a script, not what interprets it. */
function programOf(pid: number): string {
  const { exe = 'a program', argv = [] } = readProcess(pid) ?? {};
  return argv.some((word) => /^holdfastd(?:\.js)?$/.test(basename(word))) ? 'holdfastd' : exe;
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody else was faster.
  }
}

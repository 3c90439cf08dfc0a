/** Makes one holder of all the descriptors that one process has on a resource. */
import type { OpenFile } from '../system/open-files.js';
import type { Holder } from '../vocabulary.js';
import { describeProcess } from './describe-process.js';
import type { ProcessDescription } from './describe-process.js';
import { isVirtlockdLock, isWatched, meaningOf } from './lock-meaning.js';
import type { ResourceTarget } from './resource-targets.js';

export type ResourceFile = OpenFile<ResourceTarget>;

/** A program can have thousands of descriptors on one file; more of them prove nothing more. */
const evidenceFilesMax = 16;

/** What one process has open of one resource. */
export interface ProcessUse {
  readonly pid: number;
  /** Undefined: it ended meanwhile, or is hidden. */
  readonly process: ProcessDescription | undefined;
  readonly files: readonly ResourceFile[];
  /** It can write through one of them. */
  readonly writes: boolean;
  /** It has a lock where lock drivers look. */
  readonly locked: boolean;
  /** The lock is virtlockd's, who takes it for a guest and uses nothing itself. */
  readonly virtlockd: boolean;
}

/** Uses by process, in the order of pids. Descriptors that neither lock nor write are no use. */
export function processUses(files: readonly ResourceFile[]): ProcessUse[] {
  const byPid = new Map<number, ResourceFile[]>();
  for (const file of files) {
    // A lease is no lock: it only says who wants to hear of others.
    if (!isWriting(file) && file.locks.every(({ kind }) => kind === 'LEASE')) continue;
    byPid.set(file.pid, [...(byPid.get(file.pid) ?? []), file]);
  }
  return [...byPid]
    .toSorted(([a], [b]) => a - b)
    .map(([pid, ownFiles]) => {
      const process = describeProcess(pid);
      const locks = ownFiles.flatMap((file) => file.locks);
      return {
        pid,
        process,
        files: ownFiles,
        writes: ownFiles.some(isWriting),
        locked: locks.some(isWatched),
        virtlockd: locks.length > 0 && locks.every((lock) => isVirtlockdLock(lock, process?.program)),
      };
    });
}

export function isWriting({ access }: ResourceFile): boolean {
  return access === 'write' || access === 'read-write';
}

/** @param unlocked in words, what a writer without a lock of its own is to be called. */
export function processHolder(use: ProcessUse, unlocked: string): Holder {
  const { pid, process, files } = use;
  const meaning = meaningOf(
    files.flatMap((file) => file.locks),
    process?.program,
  );
  const through = files.flatMap((file) =>
    meaningOf(file.locks, process?.program).through.map((word) => onOther(word, file)),
  );
  const writer = files.find(isWriting);
  if (writer !== undefined && !use.locked) through.push(onOther(unlocked, writer));
  return {
    ...describedAs(process),
    pid,
    host: 'this host',
    ...(meaning.mode === undefined ? {} : { mode: meaning.mode }),
    through: [...new Set(through)],
    evidence: [...evidenceOf(files), ...(meaning.detail === undefined ? [] : [meaning.detail])],
    remedy: processRemedy(pid, process),
  };
}

/** The part of a holder that tells which process it is. */
export function describedAs(process: ProcessDescription | undefined): Partial<Holder> {
  if (process === undefined) return {};
  const { guest, uuid, program, startTime, user, since } = process;
  return {
    program,
    startTime,
    ...(guest === undefined ? {} : { guest }),
    ...(uuid === undefined ? {} : { uuid }),
    ...(user === undefined ? {} : { user }),
    ...(since === undefined ? {} : { since }),
  };
}

export function processRemedy(pid: number, process: ProcessDescription | undefined): string {
  if (process?.guest !== undefined && process.libvirt) {
    return `virsh shutdown ${process.guest}, or wait for it`;
  }
  if (process?.program === 'virtlockd') {
    return 'see which guest of libvirt uses it (virsh list), and shut that down';
  }
  return `stop it (pid ${pid}), or wait for it`;
}

function onOther(word: string, { target }: ResourceFile): string {
  return target.on === undefined ? word : `${word} (on ${target.on})`;
}

function evidenceOf(files: readonly ResourceFile[]): string[] {
  const shown = files.slice(0, evidenceFilesMax).flatMap(fileEvidence);
  const more = files.length - evidenceFilesMax;
  return more > 0 ? [...shown, `and ${more} more descriptors`] : shown;
}

function fileEvidence({ pid, fd, path, access, locks }: ResourceFile): string[] {
  return [
    `/proc/${pid}/fd/${fd} -> ${path ?? '?'} (${access})`,
    ...locks.map(({ text }) => `/proc/${pid}/fdinfo/${fd} lock: ${text}`),
  ];
}

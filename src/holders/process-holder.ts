/** Makes one holder of all that one process has of a resource. */
import { containerOf } from '../system/container.js';
import type { LockLine } from '../system/lock-lines.js';
import { userName } from '../system/user-name.js';
import { modes } from '../vocabulary.js';
import type { Holder, Mode } from '../vocabulary.js';
import type { ProcessDescription } from './describe-process.js';
import { meaningOf } from './lock-meaning.js';
import { isWriting, metLocks } from './process-use.js';
import type { ProcessUse, ResourceFile, ResourceMap } from './process-use.js';
import { refusedByLocks, refusedWithoutLock } from './refused-modes.js';
import { shellWord } from './shell-word.js';

/** A program can have thousands of descriptors on one file; more of them prove nothing more. */
const evidenceFilesMax = 16;
/** QEMU has 10 at most. */
const evidenceLocksMax = 64;

export interface HolderWords {
  /** What a writer without a lock of its own is to be called. */
  readonly unlocked: string;
  /** It meets no lock driver; undefined: that cannot be told. */
  readonly isUnlocked: boolean | undefined;
  /** What else is known that it does with the resource. */
  readonly more?: readonly string[];
}

export function processHolder(use: ProcessUse, { unlocked, isUnlocked, more = [] }: HolderWords): Holder {
  const { pid, process, files, maps } = use;
  const { mode, does } = meaningOf(
    files.flatMap((file) => file.locks),
    process.program,
  );
  const refuses = isUnlocked === undefined ? undefined : refusedModes(use, isUnlocked);
  const work = use.writes ? process.work?.writing : process.work?.reading;
  const all = [
    ...does,
    ...(work === undefined ? [] : [work]),
    ...more,
    ...(process.stopped ? ['is stopped by a signal'] : []),
  ];
  const container = containerOf(pid);
  return {
    ...describedAs(process),
    host: 'this host',
    ...(container === undefined ? {} : { container }),
    ...(mode === undefined ? {} : { mode }),
    through: throughWords(use, unlocked),
    ...(all.length === 0 ? {} : { does: all }),
    evidence: [...evidenceOf(files), ...maps.map(({ text }) => `/proc/${pid}/maps: ${text}`)],
    ...(refuses === undefined ? {} : { refuses }),
    ...(refuses?.length === 0 ? {} : { remedy: processRemedy(pid, process) }),
  };
}

function throughWords(use: ProcessUse, unlocked: string): readonly string[] {
  const { process, files, maps } = use;
  const through = files.flatMap((file) =>
    meaningOf(file.locks, process.program).through.map((word) => onOther(lockWord(word, file), file)),
  );
  if (use.writes) {
    if (!use.locked) through.push(...unlockedWriter(files, maps, unlocked));
  } else if (files.every(({ locks }) => locks.every(({ kind }) => kind === 'LEASE'))) {
    const [file] = files;
    const [map] = maps;
    if (file !== undefined) through.push(onOther('reads it, without a lock', file));
    if (map !== undefined) through.push(onOther('has it mapped for reading, without a lock', map));
  }
  return [...new Set(through)];
}

function unlockedWriter(
  files: readonly ResourceFile[],
  maps: readonly ResourceMap[],
  unlocked: string,
): string[] {
  const writer = files.find(isWriting);
  if (writer !== undefined) return [onOther(unlocked, writer)];
  const map = maps.find(({ writes }) => writes);
  return map === undefined ? [] : [onOther('no lock: mapped for writing', map)];
}

function lockWord(word: string, file: ResourceFile): string {
  const met = metLocks(file);
  return file.locks.length > 0 && met.length === 0 ? `${word} on another node of the device` : word;
}

/**
 * What this use refuses. What stands on the resource is met only where it writes; what the resource stands on is asked
 * for as `part`, so whoever refuses that refuses every mode.
 */
function refusedModes(use: ProcessUse, isUnlocked: boolean): readonly Mode[] {
  const locksOf = (relation: string): Parameters<typeof refusedByLocks>[0] =>
    use.files.filter(({ target }) => target.relation === relation).flatMap(metLocks);
  if (refusedByLocks(locksOf('below')).includes('part')) return modes;
  const refused = new Set(refusedByLocks(locksOf('self')));
  if (isUnlocked) refusedWithoutLock.forEach((mode) => refused.add(mode));
  return modes.filter((mode) => refused.has(mode));
}

/** The part of a holder that tells which process it is. */
export function describedAs(process: ProcessDescription | undefined): Partial<Holder> {
  if (process === undefined) return {};
  const { appliance } = process;
  if (appliance !== undefined) return { ...described(appliance.parent ?? process), name: 'libguestfs' };
  return described(process);
}

function described({
  guest,
  uuid,
  program,
  pid,
  startTime,
  user,
  since,
}: ProcessDescription): Partial<Holder> {
  return {
    ...(guest === undefined ? {} : { guest }),
    ...(uuid === undefined ? {} : { uuid }),
    program,
    pid,
    startTime,
    ...(user === undefined ? {} : { user }),
    ...(since === undefined ? {} : { since }),
  };
}

/** What to do about a process, in words. */
export function processRemedy(pid: number, process: ProcessDescription | undefined): string {
  if (process === undefined) return `stop it (pid ${pid}), or wait for it`;
  const { program, guest, libvirt, appliance, work, stopped } = process;
  if (appliance !== undefined) {
    const { parent } = appliance;
    if (parent !== undefined) return `end ${parent.program} (pid ${parent.pid}), or wait for it`;
    return 'end the program that uses libguestfs, or wait for it';
  }
  if (guest !== undefined && libvirt !== undefined) return guestRemedy(guest, libvirt, process.user);
  if (program === 'holdfastd') return 'see for whom it keeps it (holdfast list), and stop that';
  if (program === 'virtlockd') return 'see which guest of libvirt uses it (virsh list), and shut that down';
  if (stopped) return `let it go on (kill -CONT ${pid}) or stop it (kill -KILL ${pid}), or wait for it`;
  return work?.remedy ?? `stop it (pid ${pid}), or wait for it`;
}

/** virsh talks to the host's libvirt if root asks, and to the user's own if another user does: say it where that differs. */
export function guestRemedy(
  guest: string,
  libvirt: 'system' | 'session',
  user: string | undefined,
  ownUid: number = process.geteuid?.() ?? 0,
): string {
  const isDefault = (libvirt === 'system') === (ownUid === 0);
  const who =
    libvirt === 'session' && user !== undefined && user !== userName(ownUid) ? `as user ${user}: ` : '';
  return `${who}virsh ${isDefault ? '' : `-c qemu:///${libvirt} `}shutdown ${shellWord(guest)}, or wait for it`;
}

function onOther(word: string, { target }: ResourceFile | ResourceMap): string {
  return target.on === undefined ? word : `${word} (on ${target.on})`;
}

function evidenceOf(files: readonly ResourceFile[]): string[] {
  const shown = files.slice(0, evidenceFilesMax).flatMap(fileEvidence);
  const more = files.length - evidenceFilesMax;
  return more > 0 ? [...shown, `and ${more} more descriptors`] : shown;
}

function fileEvidence({ pid, thread, fd, path, access, locks }: ResourceFile): string[] {
  const folder = thread === undefined ? `/proc/${pid}` : `/proc/${pid}/task/${thread}`;
  return [
    `${folder}/fd/${fd} -> ${path ?? '?'} (${access})`,
    ...lockEvidence(locks, `${folder}/fdinfo/${fd} lock: `),
  ];
}

/** A line for each lock, and of thousands for the first ones. */
export function lockEvidence(locks: readonly LockLine[], where: string): string[] {
  const shown = locks.slice(0, evidenceLocksMax).map(({ text }) => `${where}${text}`);
  const more = locks.length - evidenceLocksMax;
  return more > 0 ? [...shown, `and ${more} more locks`] : shown;
}

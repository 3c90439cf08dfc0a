/**
 * What the bytes of a lock mean: who takes locks there, and for which use.
 *
 * | bytes | kind | who |
 * |---|---|---|
 * | 0 | POSIX | virtlockd, in its direct lockspace or in a lockspace directory |
 * | 1 | POSIX | libvirt, for the moment in which it changes the owner and label of an image |
 * | 0, 2 to 4 | OFD | Holdfast: 0 always, 2 shared, 3 read, 4 part |
 * | one from 2^52 on | OFD | Holdfast: the witness of a record that it left for other hosts |
 * | 100 to 103, 200 to 203 | OFD | QEMU: 10x "I do this", 20x "nobody else may" (0 read, 1 write, 2 write unchanged, 3 resize) |
 */
import { covers } from '../system/lock-lines.js';
import type { LockLine } from '../system/lock-lines.js';
import type { Mode } from '../vocabulary.js';
import { isOfQemu } from './qemu-command-line.js';

export interface LockMeaning {
  /** In words, each once, and the first ones of many. */
  readonly through: readonly string[];
  readonly mode?: Mode;
  /** What QEMU's bytes say: `reads`, `writes`, `resizes`, `forbids other writers`; empty without any. */
  readonly does: readonly string[];
}

/**
 * The bytes on which any lock is met by whoever asks to write: a writer with a lock on one of them is refused by its
 * lock. The others only tell modes apart, or what a reader does; a lock there keeps nobody out.
 */
const watchedBytes: readonly (readonly [first: number, last: number])[] = [
  [0, 0],
  [101, 101],
  [103, 103],
  [200, 201],
  [203, 203],
];

/** Whether a lock stands where lock drivers look. A flock(2) never does: it does not meet fcntl's locks. */
export function isWatched(lock: LockLine): boolean {
  return watchedBytes.some(([first, last]) => covers(lock, first, last));
}

/** A database can have thousands on one file; nobody reads them all. */
const wordsMax = 8;

/** Of the locks that one process has on one file. `program`: its name, or undefined where it cannot be seen. */
export function meaningOf(locks: readonly LockLine[], program: string | undefined): LockMeaning {
  const through = [...new Set(locks.map((lock) => words(lock, program)))];
  const more = through.length - wordsMax;
  if (more > 1) through.splice(wordsMax, more, `${more} more locks`);
  const mode = modeOf(locks);
  return { through, ...(mode === undefined ? {} : { mode }), does: qemuWords(locks) };
}

/** Whether a lock is one that virtlockd takes for a guest. */
export function isVirtlockdLock(lock: LockLine, program: string | undefined): boolean {
  return program === 'virtlockd' && lock.kind === 'POSIX' && isWithin(lock, 0, 0);
}

function words(lock: LockLine, program: string | undefined): string {
  if (lock.kind === 'FLOCK') return 'flock(2)';
  if (lock.kind === 'LEASE') return 'a file lease';
  if (isVirtlockdLock(lock, program)) return 'virtlockd';
  if (lock.kind === 'POSIX') {
    if (isWithin(lock, 0, 0)) return 'a lock on byte 0, as virtlockd takes it';
    if (isWithin(lock, 1, 1) && lock.type === 'write') return 'libvirt, which is changing its owner or label';
  } else {
    // One line can span several of them: the kernel joins neighbouring locks of one kind and owner.
    if (isHoldfastRange(lock)) return 'Holdfast';
    if (isQemuLock(lock)) {
      return program === undefined || isOfQemu(program) ? "QEMU's own image lock" : "QEMU's image lock";
    }
  }
  const end = lock.end === undefined ? 'to the end' : `to ${lock.end}`;
  const kind = lock.kind === 'OFD' ? 'an OFD' : 'a POSIX';
  return `${kind} ${lock.type} lock on bytes ${lock.start} ${end}`;
}

function isWithin(lock: LockLine, first: number, last: number): boolean {
  return lock.start >= first && lock.end !== undefined && lock.end <= last;
}

function isHoldfastRange(lock: LockLine): boolean {
  return isWithin(lock, 0, 0) || isWithin(lock, 2, 4) || isWitness(lock);
}

function isWitness(lock: LockLine): boolean {
  return lock.start >= 2 ** 52 && lock.end === lock.start && lock.type === 'read';
}

function isQemuLock(lock: LockLine): boolean {
  return lock.kind === 'OFD' && (isWithin(lock, 100, 103) || isWithin(lock, 200, 203));
}

function modeOf(all: readonly LockLine[]): Mode | undefined {
  const locks = all.filter((lock) => lock.kind === 'POSIX' || lock.kind === 'OFD');
  const held = (byte: number): boolean => locks.some((lock) => covers(lock, byte, byte));
  const low = locks.filter((lock) => covers(lock, 0, 0));
  if (low.some((lock) => lock.type === 'write')) return 'exclusive';
  if (low.length > 0) {
    // A range that spans them all is nobody's marker.
    const marked = (byte: number): boolean =>
      locks.some((lock) => isHoldfastRange(lock) && covers(lock, byte, byte));
    if (marked(4)) return 'part';
    return marked(3) || !locks.some(isHoldfastRange) ? 'read' : 'shared';
  }
  const qemu = locks.some(isQemuLock);
  if (qemu && (held(101) || held(103))) return held(201) ? 'exclusive' : 'shared';
  return qemu && held(100) ? 'read' : undefined;
}

/** By the bit of the byte: what a lock on 10x says, and one on 20x. */
const qemuUses = ['reads', 'writes', 'rewrites what is there', 'resizes'] as const;
const qemuForbids = [
  'forbids other readers',
  'forbids other writers',
  'forbids others to rewrite what is there',
  'forbids others to resize',
] as const;

function qemuWords(all: readonly LockLine[]): readonly string[] {
  const locks = all.filter(isQemuLock);
  const held = (byte: number): boolean => locks.some((lock) => covers(lock, byte, byte));
  return [
    ...qemuUses.filter((_, bit) => held(100 + bit)),
    ...qemuForbids.filter((_, bit) => held(200 + bit)),
  ];
}

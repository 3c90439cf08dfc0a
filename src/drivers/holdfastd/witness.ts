/**
 * A file whose lock says that somebody still keeps a hold: whoever inherits its descriptor does, however far he has
 * gone from the process that asked, and the kernel tells the daemon when the last of them has ended.
 *
 * Invariant: a witness is removed only under a lock of the remover's; who makes one looks after locking it whether it is
 * still there.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { causeText, HoldfastError } from '../../errors.js';
import { pauseThread } from '../../system/clock.js';
import { Inheritance } from '../../system/inheritance.js';
import { tryLock } from '../../system/ofd-lock.js';
import { randomHex } from '../../system/random.js';
import { privateDirectory } from '../../system/runtime-directory.js';

const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Each round means that somebody took the new file for a dead one in the moment before it was locked. */
const roundsMax = 1_000;
const tidyingMs = 1;
/** More than the one that each start can leave behind. */
const someWitnesses = 4;

export class Witness {
  readonly path: string;
  /** To be inherited by whoever is to keep the hold. */
  readonly descriptors: readonly number[];
  readonly #fd: number;
  readonly #inheritance: Inheritance;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
    // The witness tells the daemon, which may be asked too late; this tells here who still has it.
    this.#inheritance = new Inheritance();
    this.descriptors = [fd, this.#inheritance.descriptor];
  }

  /** Makes one, locked. @throws HoldfastError NOT_PERMITTED, NO_RECORD */
  static make(directory: string): Witness {
    privateDirectory(directory);
    removeSomeDead(directory);
    for (let round = 1; ; round++) {
      const path = join(directory, randomHex(8));
      const fd = openNew(path);
      if (tryLock(fd, 'write', 0) && fstatSync(fd).nlink > 0) return new Witness(path, fd);
      closeSync(fd);
      if (round === roundsMax) throw unwritten(path, `it was removed ${round} times meanwhile`);
      pauseThread(tidyingMs);
    }
  }

  /** Lets go of it. `whenGone` is called when nobody who inherited it has it any longer: at once if nobody did. */
  letGo(whenGone: () => void): void {
    closeSync(this.#fd);
    this.#inheritance.letGo(() => {
      removeIfDead(this.path);
      whenGone();
    });
  }
}

function openNew(path: string): number {
  try {
    return openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    throw unwritten(path, error);
  }
}

function unwritten(path: string, cause: unknown): HoldfastError {
  return new HoldfastError('NO_RECORD', `the witness ${path} cannot be made: ${causeText(cause)}`, { cause });
}

/** The daemon removes the witness of a hold that ends; those of a daemon that ended first are left to the next one to lock. */
function removeSomeDead(directory: string): void {
  const names = readdirSync(directory);
  const first = Math.floor(Math.random() * names.length);
  const some = [...names.slice(first), ...names.slice(0, first)].slice(0, someWitnesses);
  for (const name of some) removeIfDead(join(directory, name));
}

function removeIfDead(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return; // Removed by somebody else.
  }
  try {
    if (tryLock(fd, 'write', 0) && leadsTo(path, fd)) unlinkSync(path);
  } catch {
    // Not ours to remove.
  } finally {
    closeSync(fd);
  }
}

function leadsTo(path: string, fd: number): boolean {
  const named = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  const open = fstatSync(fd, { bigint: true });
  return named?.ino === open.ino && named.dev === open.dev;
}

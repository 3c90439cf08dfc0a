/**
 * The descriptors of locks in the service manager's own store (sd_pid_notify_with_fds(3), `FileDescriptorStoreMax=`): it
 * holds them even when the keeper and the daemon are killed at once, and gives them to the next keeper, which is
 * started with them (sd_listen_fds(3)). Their names have the lock's id; what they are stands in the journal.
 *
 * The service manager compares each new descriptor with all that it has, and reads one message a time between everything
 * else it does: so it is told only of locks that have been held for a while, and a few at once. Those that are younger are
 * taken again from the journal.
 */
import { closeDescriptor } from '../../system/descriptors.js';
import { makeOwn } from '../../system/listening-socket.js';
import { unlockAll } from '../../system/ofd-lock.js';
import { DescriptorMessages } from '../../system/pass-descriptors.js';
import { connectDatagrams } from '../../system/unix-socket.js';
import { KeptThings, type KeptMirror } from './kept-things.js';

const firstDescriptor = 3;
const namePattern = /^lock-(?<id>[0-9a-z]{1,11})$/;
const radix = 36;
/** All names come back in one variable of the environment, for which Linux has 128 KiB (execve(2), MAX_ARG_STRLEN). */
const nameBytesMax = 120 * 1024;
const messageBytesMax = 128;

/** How long a lock has been held before it is worth a message. */
const ageMs = 500;
/** What systemd 254 says itself, and the unit before: how many descriptors the store has room for. */
const sizeVariable = 'FDSTORE';
/** So many messages at most, then a pause: with 4,000 descriptors in the store systemd takes some 4 ms for each. */
const messagesAtOnce = 32;
const pauseMs = 50;

/** What came back. */
export interface StoredLocks {
  /** Descriptors by the lock's id. */
  readonly descriptors: ReadonlyMap<number, number>;
  /** Ids that were there twice: which of them was the lock nobody can tell, so it is none. */
  readonly doubled: ReadonlySet<number>;
}

export class ServiceStore implements KeptMirror {
  readonly #socket: number;
  readonly #messages: DescriptorMessages;
  readonly #max: number;
  readonly #failed: (error: Error) => void;
  /** In the store, by id. */
  readonly #stored: Map<number, number>;
  /** To be stored, the oldest first. */
  readonly #waiting = new Map<number, { readonly fd: number; readonly atMs: number }>();
  /** To be taken out of the store. */
  readonly #leaving: Set<number>;
  #nameBytes = 0;
  #notBeforeMs = 0;
  #hasFailed = false;

  /**
   * @param path the service manager's socket.
   * @param max how many descriptors it takes.
   * @param stored what it has already.
   * @param failed called once: it takes nothing more.
   */
  constructor(path: string, max: number, stored: StoredLocks, failed: (error: Error) => void) {
    this.#socket = connectDatagrams(path);
    this.#messages = new DescriptorMessages(this.#socket, messageBytesMax);
    this.#max = max;
    this.#stored = new Map(stored.descriptors);
    this.#leaving = new Set(stored.doubled);
    this.#failed = failed;
    for (const id of [...this.#stored.keys(), ...this.#leaving]) this.#nameBytes += nameBytes(id);
  }

  /** One descriptor of a lock. */
  kept(id: number, fd: number, nowMs: number): void {
    if (this.#stored.get(id) === fd) return;
    this.dropped(id);
    this.#waiting.set(id, { fd, atMs: nowMs + ageMs });
  }

  dropped(id: number): void {
    this.#waiting.delete(id);
    if (this.#stored.delete(id)) this.#leaving.add(id);
  }

  /** When there is something to tell. */
  get tellAtMs(): number {
    if (this.#hasFailed) return Infinity;
    if (this.#leaving.size > 0) return this.#notBeforeMs;
    const [first] = this.#waiting.values();
    return first === undefined || this.#isFull ? Infinity : Math.max(first.atMs, this.#notBeforeMs);
  }

  /** Tells the service manager what is due. Never blocks. */
  tell(nowMs: number): void {
    if (nowMs < this.tellAtMs) return;
    this.#notBeforeMs = nowMs + pauseMs;
    try {
      this.#tell(nowMs);
    } catch (error) {
      // Its queue is full: later.
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return;
      this.#hasFailed = true;
      this.#failed(error as Error);
    }
  }

  get #isFull(): boolean {
    return this.#stored.size >= this.#max || this.#nameBytes >= nameBytesMax;
  }

  #tell(nowMs: number): void {
    let left = messagesAtOnce;
    // First what goes: a name is never there twice.
    for (const id of this.#leaving) {
      if (left-- === 0) return;
      this.#send(`FDSTOREREMOVE=1\nFDNAME=${nameOf(id)}`, []);
      this.#leaving.delete(id);
      this.#nameBytes -= nameBytes(id);
    }
    for (const [id, { fd, atMs }] of this.#waiting) {
      if (atMs > nowMs || this.#isFull || left-- === 0) return;
      // Nothing ever happens on a file, so it need not be watched.
      this.#send(`FDSTORE=1\nFDNAME=${nameOf(id)}\nFDPOLL=0`, [fd]);
      this.#waiting.delete(id);
      this.#stored.set(id, fd);
      this.#nameBytes += nameBytes(id);
    }
  }

  #send(text: string, descriptors: readonly number[]): void {
    this.#messages.send(this.#messages.buffer.write(text), descriptors);
  }
}

/** Undefined: the service manager keeps no descriptors for this service. */
export function openServiceStore(
  stored: StoredLocks,
  failed: (error: Error) => void,
  environment: NodeJS.ProcessEnv = process.env,
): ServiceStore | undefined {
  const { NOTIFY_SOCKET: path, [sizeVariable]: size } = environment;
  const max = Number(size);
  if (path === undefined || !Number.isSafeInteger(max) || max <= 0) return undefined;
  try {
    return new ServiceStore(path, max, stored, failed);
  } catch (error) {
    failed(error as Error);
    return undefined;
  }
}

/**
 * Takes what the service manager has kept out of what this process was started with; what is left are the sockets, which
 * come first (systemd.exec(5), `$LISTEN_FDS`).
 */
export function takeStoredLocks(environment: NodeJS.ProcessEnv = process.env): StoredLocks {
  const { LISTEN_PID: pid, LISTEN_FDS: count, LISTEN_FDNAMES: given = '' } = environment;
  const descriptors = new Map<number, number>();
  const doubled = new Set<number>();
  if (count === undefined || Number(pid) !== process.pid) return { descriptors, doubled };
  const names = given.split(':');
  const sockets = names.findIndex((name) => idOf(name) !== undefined);
  if (sockets === -1) return { descriptors, doubled };
  for (const [index, name] of names.entries()) {
    const id = idOf(name);
    if (id === undefined) continue;
    const fd = firstDescriptor + index;
    makeOwn(fd);
    const first = descriptors.get(id);
    if (first === undefined && !doubled.has(id)) {
      descriptors.set(id, fd);
      continue;
    }
    for (const one of first === undefined ? [fd] : [first, fd]) giveUp(one);
    descriptors.delete(id);
    doubled.add(id);
  }
  environment['LISTEN_FDS'] = String(sockets);
  environment['LISTEN_FDNAMES'] = names.slice(0, sockets).join(':');
  return { descriptors, doubled };
}

/** As a keeper has them. Nobody has told it what they are: their records are empty. */
export function thingsOf({ descriptors }: StoredLocks): KeptThings {
  const things = new KeptThings();
  for (const [id, fd] of descriptors) things.add(id, { record: '', descriptors: fd });
  return things;
}

/** The store has a duplicate, so closing alone would not unlock. */
function giveUp(fd: number): void {
  unlockAll(fd);
  closeDescriptor(fd);
}

function nameOf(id: number): string {
  return `lock-${id.toString(radix)}`;
}

/** With what separates it from the next one. */
function nameBytes(id: number): number {
  return nameOf(id).length + 1;
}

function idOf(name: string): number | undefined {
  const digits = namePattern.exec(name)?.groups?.['id'];
  return digits === undefined ? undefined : Number.parseInt(digits, radix);
}

/**
 * What a thread of the daemon and the keeper tell each other: messages of a SEQPACKET socket. Each is one or more entries,
 * with the descriptors of all of them beside it, in their order.
 *
 * An entry, little-endian:
 *
 *     0  u8   kind
 *     2  u16  descriptors
 *     4  u32  bytes of the record
 *     8  u48  id
 *    16       the record
 */
import { DescriptorMessages, descriptorsMax } from '../../system/pass-descriptors.js';

/**
 * Daemon to keeper: `keep`, `more` (further descriptors of what was kept: a message has room for 253), `update` (another
 * record), `drop`. Keeper to daemon, once, at its start: what it has, as `keep` and `more`, then `end`.
 *
 * Keeper to keeper, when one takes over from another: `give` (what it understands); the other way `socket` (a listening one; the record is its name), `channel` (its
 * name; what follows was kept through it), `keep` and `more`, `end`; and again `taken`.
 */
export const keepKind = {
  keep: 1,
  update: 2,
  drop: 3,
  end: 4,
  more: 5,
  socket: 6,
  channel: 7,
  taken: 8,
  give: 9,
} as const;
export type KeepKind = (typeof keepKind)[keyof typeof keepKind];

const headerBytes = 16;
/** A hold of 4,096 disks with long paths is some 4 MiB; what is larger than this stands in a file of its own. */
export const recordBytesMax = 128 * 1024;
export const messageBytesMax = headerBytes + recordBytesMax;
const idMax = 2 ** 48 - 1;

/** What can be done about a queue that stays full. */
export interface FullQueue {
  /** Whether a message waits for room in the queue, as long as the socket is to. */
  readonly waits: boolean;
  /** A message was not taken. Gives the descriptor that it is sent to once more, and what follows as well. */
  readonly isFull: () => number;
}

/** Writes entries into one message after another. Nothing is sent before `commit`. */
export class KeepWriter {
  readonly #messages: DescriptorMessages;
  readonly #queue: FullQueue | undefined;
  readonly #descriptors: number[] = [];
  #end = 0;
  #recordStart = 0;
  #muted = false;

  /** @param queue missing: one that stays full is an error. */
  constructor(fd: number, queue?: FullQueue) {
    this.#messages = new DescriptorMessages(fd, messageBytesMax);
    this.#queue = queue;
  }

  /** What the message is made of: the record of the last entry is from `recordStart` to `end`. */
  get buffer(): Buffer {
    return this.#messages.buffer;
  }
  get recordStart(): number {
    return this.#recordStart;
  }
  get end(): number {
    return this.#end;
  }

  /** Whether an entry with so long a record (in UTF-16 units) and so many descriptors goes into the message for sure. */
  hasRoom(recordLength: number, descriptors: number): boolean {
    // UTF-8 needs at most three bytes for each unit of a string.
    const bytes = headerBytes + recordLength * 3;
    return (
      this.#end + bytes <= this.buffer.length && this.#descriptors.length + descriptors <= descriptorsMax
    );
  }

  /**
   * Adds an entry. Where it does not go into the message with the others, these are sent first. Throws `RangeError` where
   * an id or a record does not fit at all, and what `commit` throws.
   */
  add(kind: KeepKind, id: number, record: string, descriptors: readonly number[]): void {
    if (!Number.isSafeInteger(id) || id < 0 || id > idMax)
      throw new RangeError(`no id of a kept thing: ${id}`);
    // Counted only where the bound of `hasRoom` is not enough to know.
    if (record.length * 3 > recordBytesMax && Buffer.byteLength(record) > recordBytesMax) {
      throw new RangeError(`a record of more than ${recordBytesMax} bytes`);
    }
    const first = descriptors.length > descriptorsMax ? descriptors.slice(0, descriptorsMax) : descriptors;
    if (!this.hasRoom(record.length, first.length)) this.commit();
    const { buffer } = this;
    const start = this.#end;
    buffer.writeUInt16LE(kind, start);
    buffer.writeUInt16LE(first.length, start + 2);
    buffer.writeUIntLE(id, start + 8, 6);
    this.#recordStart = start + headerBytes;
    const bytes = record === '' ? 0 : buffer.write(record, this.#recordStart);
    buffer.writeUInt32LE(bytes, start + 4);
    this.#end = this.#recordStart + bytes;
    for (const fd of first) this.#descriptors.push(fd);
    for (let next = descriptorsMax; next < descriptors.length; next += descriptorsMax) {
      this.add(keepKind.more, id, '', descriptors.slice(next, next + descriptorsMax));
    }
  }

  /** From now on `commit` forgets what was added: nobody receives it. */
  mute(): void {
    this.#muted = true;
  }

  /** Sends what was added. Blocks while the queue is full. Throws what `DescriptorMessages` throws: what was added is gone. */
  commit(): void {
    if (this.#end === 0) return;
    try {
      if (!this.#muted) this.#send(this.#queue?.waits ?? true);
    } finally {
      this.#end = 0;
      this.#descriptors.length = 0;
    }
  }

  #send(wait: boolean): void {
    try {
      this.#messages.send(this.#end, this.#descriptors, wait);
    } catch (error) {
      if (this.#queue === undefined || !staysFull(error)) throw error;
      this.#messages.moveTo(this.#queue.isFull());
      this.#messages.send(this.#end, this.#descriptors, wait);
    }
  }
}

/** Whether that is the error of a message for which there was no room. */
export const staysFull = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EAGAIN';

export interface KeepEntry {
  readonly kind: KeepKind;
  /** Chosen by the daemon: positive, below 2^48. */
  readonly id: number;
  /** A view of what was read. */
  readonly record: Buffer;
  readonly descriptors: readonly number[];
}

/**
 * The entries of a message. What is no entry, and all after it, is left out: `close` is called with descriptors that belong
 * to none.
 */
export function readKeepMessage(
  bytes: Buffer,
  descriptors: readonly number[],
  take: (entry: KeepEntry) => void,
  close: (descriptor: number) => void,
): void {
  let at = 0;
  let nextDescriptor = 0;
  while (at + headerBytes <= bytes.length) {
    const kind = bytes.readUInt16LE(at);
    const count = bytes.readUInt16LE(at + 2);
    const recordStart = at + headerBytes;
    const end = recordStart + bytes.readUInt32LE(at + 4);
    if (!isKeepKind(kind) || end > bytes.length || nextDescriptor + count > descriptors.length) break;
    take({
      kind,
      id: bytes.readUIntLE(at + 8, 6),
      record: bytes.subarray(recordStart, end),
      descriptors: descriptors.slice(nextDescriptor, nextDescriptor + count),
    });
    nextDescriptor += count;
    at = end;
  }
  for (const fd of descriptors.slice(nextDescriptor)) close(fd);
}

function isKeepKind(kind: number): kind is KeepKind {
  return kind >= keepKind.keep && kind <= keepKind.give;
}

/** Reads entries of a socket. */
export class KeepReader {
  readonly #messages: DescriptorMessages;
  readonly #close: (descriptor: number) => void;

  constructor(fd: number, close: (descriptor: number) => void) {
    this.#messages = new DescriptorMessages(fd, messageBytesMax);
    this.#close = close;
  }

  /** One message: `nothing` where there is none and `wait` is false; false: the other end has closed. */
  read(wait: boolean, take: (entry: KeepEntry) => void): boolean | 'nothing' {
    const received = this.#messages.receive(wait);
    if (received === undefined) return false;
    if (received === 'nothing') return 'nothing';
    readKeepMessage(
      this.#messages.buffer.subarray(0, received.bytes),
      received.descriptors,
      take,
      this.#close,
    );
    return true;
  }
}

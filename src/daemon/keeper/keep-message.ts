/**
 * What a thread of the daemon and the keeper tell each other: one message of a SEQPACKET socket each, with descriptors
 * beside it. A kind, an id, and the record.
 */

/**
 * Daemon to keeper: `keep` (with descriptors), `update`, `drop`. Keeper to daemon, once, at its start: a `keep` for each
 * thing that it has, then `end`.
 */
export const keepKind = { keep: 1, update: 2, drop: 3, end: 4 } as const;
export type KeepKind = (typeof keepKind)[keyof typeof keepKind];

export interface KeepMessage {
  readonly kind: KeepKind;
  /** Chosen by the daemon: positive, below 2^48. */
  readonly id: number;
  /** A view of the buffer that was read. */
  readonly record: Buffer;
}

const headerBytes = 8;
/** A hold of 4,096 disks with long paths is some 4 MiB; what is larger than this stands in a file of its own. */
export const recordBytesMax = 128 * 1024;
export const messageBytesMax = headerBytes + recordBytesMax;
const idMax = 2 ** 48 - 1;

/** Writes a message to the start of `buffer`; gives its length. Throws `RangeError` where a value does not fit. */
export function writeKeepMessage(buffer: Buffer, kind: KeepKind, id: number, record: string): number {
  if (!Number.isSafeInteger(id) || id < 0 || id > idMax) throw new RangeError(`no id of a kept thing: ${id}`);
  buffer.writeUInt16LE(kind, 0);
  buffer.writeUIntLE(id, 2, 6);
  // UTF-8 needs at most three bytes for each unit of a string; only where that is too much it is counted.
  if (record.length * 3 > recordBytesMax && Buffer.byteLength(record) > recordBytesMax) {
    throw new RangeError(`a record of more than ${recordBytesMax} bytes`);
  }
  return headerBytes + buffer.write(record, headerBytes);
}

/** Undefined: no message of this form. */
export function readKeepMessage(bytes: Buffer): KeepMessage | undefined {
  if (bytes.length < headerBytes) return undefined;
  const kind = bytes.readUInt16LE(0);
  if (!isKeepKind(kind)) return undefined;
  return { kind, id: bytes.readUIntLE(2, 6), record: bytes.subarray(headerBytes) };
}

function isKeepKind(kind: number): kind is KeepKind {
  return kind >= keepKind.keep && kind <= keepKind.end;
}

/**
 * The frames of libvirt's RPC (libvirt.org/kbase/internals/rpc.html): a length that counts itself, a header of six
 * words, the payload.
 */
import { ProtocolError } from './protocol-error.js';

/** What a frame is. */
export const rpcType = {
  call: 0,
  reply: 1,
  message: 2,
  stream: 3,
  callWithDescriptors: 4,
  replyWithDescriptors: 5,
  streamHole: 6,
} as const;

export const rpcStatus = { ok: 0, error: 1, continue: 2 } as const;

export interface RpcHeader {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  /** One of `rpcType`, or what a peer sent in its place. */
  readonly type: number;
  /** A reply has that of its call. */
  readonly serial: number;
  /** One of `rpcStatus`, or what a peer sent in its place. */
  readonly status: number;
}

export interface RpcFrame extends RpcHeader {
  readonly payload: Buffer;
}

const lengthBytes = 4;
/** The length and the header: no frame is shorter. */
export const frameBytesMin = 28;
/** libvirt's own limit for any program, the length word on top of it. */
export const frameBytesMaxOfLibvirt = 4 + 32 * 1024 * 1024;

/** @throws ProtocolError if a field does not fit into its word, or the frame is above libvirt's own limit. */
export function encodeFrame(header: RpcHeader, payload: Uint8Array): Buffer {
  const length = frameBytesMin + payload.length;
  if (length > frameBytesMaxOfLibvirt) {
    throw new ProtocolError(
      'too long',
      `a frame of ${length} bytes; libvirt takes ${frameBytesMaxOfLibvirt}`,
    );
  }
  const frame = Buffer.allocUnsafe(length);
  const { program, version, procedure, type, serial, status } = header;
  try {
    frame.writeUInt32BE(length, 0);
    frame.writeUInt32BE(program, 4);
    frame.writeUInt32BE(version, 8);
    frame.writeInt32BE(procedure, 12);
    frame.writeInt32BE(type, 16);
    frame.writeUInt32BE(serial, 20);
    frame.writeInt32BE(status, 24);
  } catch {
    throw new ProtocolError('bad value', `no header of a frame: ${JSON.stringify(header)}`);
  }
  frame.set(payload, frameBytesMin);
  return frame;
}

/** Only for a whole frame, from `start` to `end`, whose length was checked. */
function decodeFrame(bytes: Buffer, start: number, end: number): RpcFrame {
  return {
    program: bytes.readUInt32BE(start + 4),
    version: bytes.readUInt32BE(start + 8),
    procedure: bytes.readInt32BE(start + 12),
    type: bytes.readInt32BE(start + 16),
    serial: bytes.readUInt32BE(start + 20),
    status: bytes.readInt32BE(start + 24),
    payload: bytes.subarray(start + frameBytesMin, end),
  };
}

/**
 * Cuts a stream of bytes into frames.
 *
 * Invariant: it keeps at most one unfinished frame, and of that only what has come: a length that is claimed
 * allocates nothing.
 */
export class FrameReader {
  readonly #frameBytesMax: number;
  /** The beginning of an unfinished frame; its first `#kept` bytes count. */
  #partial = Buffer.alloc(0);
  #kept = 0;
  #lost: ProtocolError | undefined;

  /** @param frameBytesMax of the program that is spoken; libvirt's limit if it is not known. */
  constructor(frameBytesMax: number = frameBytesMaxOfLibvirt) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** Bytes of an unfinished frame: not zero when a stream ends means that it ended early. */
  get unfinished(): number {
    return this.#kept;
  }

  /**
   * The frames that are whole with these bytes, `end` of them. Payloads may share memory with `chunk`.
   * @throws ProtocolError `framing lost`, after giving `whole` every frame before the loss; and for ever after
   */
  push(chunk: Buffer, whole: (frame: RpcFrame) => void, end: number = chunk.length): void {
    if (this.#lost !== undefined) throw this.#lost;
    let at = 0;
    while (at < end) {
      const length = this.#lengthWith(chunk, at, end);
      // Not even the length is whole: it is kept until it is.
      if (length === undefined) return this.#keep(chunk.subarray(at, end), lengthBytes);
      const missing = length - this.#kept;
      if (end - at < missing) return this.#keep(chunk.subarray(at, end), length);
      if (this.#kept === 0) {
        whole(decodeFrame(chunk, at, at + length));
      } else {
        this.#keep(chunk.subarray(at, at + missing), length);
        const frame = this.#partial;
        this.#partial = Buffer.alloc(0);
        this.#kept = 0;
        whole(decodeFrame(frame, 0, length));
      }
      at += missing;
    }
  }

  /** The length of the frame that goes on with `chunk` from `at` to `end`; undefined: not known yet. */
  #lengthWith(chunk: Buffer, at: number, end: number): number | undefined {
    if (this.#kept + end - at < lengthBytes) return undefined;
    let length = 0;
    if (this.#kept === 0) {
      length = chunk.readUInt32BE(at);
    } else {
      for (let n = 0; n < lengthBytes; n++) {
        length = length * 256 + ((n < this.#kept ? this.#partial[n] : chunk[at + n - this.#kept]) ?? 0);
      }
    }
    if (length < frameBytesMin || length > this.#frameBytesMax) {
      this.#lost = new ProtocolError(
        'framing lost',
        `a frame of ${length} bytes; it has ${frameBytesMin} to ${this.#frameBytesMax}`,
      );
      this.#partial = Buffer.alloc(0);
      this.#kept = 0;
      throw this.#lost;
    }
    return length;
  }

  #keep(bytes: Buffer, bytesMax: number): void {
    const needed = this.#kept + bytes.length;
    if (needed > this.#partial.length) {
      // Twice as much each time, so that a frame which comes byte by byte is not copied for each of them.
      const larger = Buffer.allocUnsafe(Math.min(bytesMax, Math.max(needed, this.#partial.length * 2)));
      this.#partial.copy(larger, 0, 0, this.#kept);
      this.#partial = larger;
    }
    bytes.copy(this.#partial, this.#kept);
    this.#kept = needed;
  }
}

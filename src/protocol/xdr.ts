/**
 * XDR (RFC 4506): big-endian, everything a multiple of four bytes.
 *
 * Invariant: no length is used before it was compared with its limit and with the bytes that are left, so what
 * a peer claims costs nothing but the bytes that it really sent.
 *
 * Padding is written as zeros and not looked at when it is read, as libvirt's own decoder does.
 */
import { ProtocolError } from './protocol-error.js';

const unit = 4;
const hyperBytes = 8;
const intMin = -0x80000000;
const intMax = 0x7fffffff;
const unsignedMax = 0xffffffff;
const hyperMin = -(2n ** 63n);
const hyperMax = 2n ** 63n - 1n;
const unsignedHyperMax = 2n ** 64n - 1n;

/** With `u` a pair is one character, and only halves of pairs are found. */
const loneSurrogate = /[\uD800-\uDFFF]/u;

const padding = (length: number): number => (unit - (length % unit)) % unit;

/** Reads values one after another. What it gives shares memory with what it was given. */
export class XdrReader {
  readonly #bytes: Buffer;
  #offset: number;

  constructor(bytes: Buffer, offset = 0) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  /** Bytes that were not read yet. */
  get left(): number {
    return this.#bytes.length - this.#offset;
  }

  #take(length: number, what: string): number {
    if (length > this.left) {
      throw new ProtocolError('truncated', `${what} needs ${length} bytes, and ${this.left} are left`);
    }
    const start = this.#offset;
    this.#offset += length;
    return start;
  }

  int(what = 'an int'): number {
    return this.#bytes.readInt32BE(this.#take(unit, what));
  }

  unsigned(what = 'an unsigned int'): number {
    return this.#bytes.readUInt32BE(this.#take(unit, what));
  }

  hyper(what = 'a hyper'): bigint {
    return this.#bytes.readBigInt64BE(this.#take(hyperBytes, what));
  }

  unsignedHyper(what = 'an unsigned hyper'): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(hyperBytes, what));
  }

  bool(what = 'a bool'): boolean {
    const value = this.unsigned(what);
    if (value > 1) throw new ProtocolError('bad value', `${what} is ${value}, neither 0 nor 1`);
    return value === 1;
  }

  /** Opaque bytes of a length that the protocol fixes. */
  opaqueFixed(length: number, what = 'opaque bytes'): Buffer {
    const start = this.#take(length + padding(length), what);
    return this.#bytes.subarray(start, start + length);
  }

  /** Opaque bytes that say how many they are; `bytesMax` is the limit that the protocol names. */
  opaque(bytesMax: number, what = 'opaque bytes'): Buffer {
    return this.opaqueFixed(this.#length(bytesMax, what), what);
  }

  /** A string. The wire has no character set; libvirt sends UTF-8, and its own strings end at a zero byte. */
  string(bytesMax: number, what = 'a string'): string {
    const length = this.#length(bytesMax, what);
    if (length === 0) return '';
    const start = this.#take(length + padding(length), what);
    const text = this.#bytes.toString('utf8', start, start + length);
    if (text.includes('\0')) throw new ProtocolError('bad value', `${what} has a zero byte`);
    // Bytes that are no UTF-8 become U+FFFD, and the text would name another file than the bytes.
    if (text.includes('\uFFFD') && !Buffer.from(text).equals(this.#bytes.subarray(start, start + length))) {
      throw new ProtocolError('bad value', `${what} is not UTF-8`);
    }
    return text;
  }

  /** A value that may be missing (a pointer in the protocol's own words). */
  optional<Value>(read: () => Value, what = 'an optional value'): Value | undefined {
    return this.bool(what) ? read() : undefined;
  }

  /** An array that says how many elements it has; `elementBytesMin` is what the smallest element takes. */
  array<Value>(countMax: number, elementBytesMin: number, read: () => Value, what = 'an array'): Value[] {
    const count = this.#length(countMax, what);
    if (count * elementBytesMin > this.left) {
      throw new ProtocolError(
        'truncated',
        `${what} of ${count} elements does not fit into ${this.left} bytes`,
      );
    }
    return Array.from({ length: count }, read);
  }

  #length(max: number, what: string): number {
    const length = this.unsigned(what);
    if (length > max)
      throw new ProtocolError('too long', `${what} has length ${length}, and at most ${max} are allowed`);
    return length;
  }
}

/** Writes values one after another; grows, and never beyond `bytesMax`. */
export class XdrWriter {
  #bytes: Buffer;
  #length = 0;
  readonly #bytesMax: number;

  constructor(bytesMax: number, bytesFirst = 256) {
    this.#bytesMax = bytesMax;
    this.#bytes = Buffer.allocUnsafe(Math.min(bytesFirst, bytesMax));
  }

  /** What was written; shares memory with the writer, which is not to be used after it. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Makes room, and gives where it begins. */
  #room(length: number): number {
    const start = this.#length;
    const end = start + length;
    if (end > this.#bytesMax) {
      throw new ProtocolError('too long', `a message of more than ${this.#bytesMax} bytes`);
    }
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#bytesMax, Math.max(end, this.#bytes.length * 2)));
      this.#bytes.copy(larger, 0, 0, start);
      this.#bytes = larger;
    }
    this.#length = end;
    return start;
  }

  int(value: number): this {
    requireRange(Number.isInteger(value) && value >= intMin && value <= intMax, value, 'an int');
    const at = this.#room(unit);
    this.#bytes.writeInt32BE(value, at);
    return this;
  }

  unsigned(value: number): this {
    requireRange(Number.isInteger(value) && value >= 0 && value <= unsignedMax, value, 'an unsigned int');
    const at = this.#room(unit);
    this.#bytes.writeUInt32BE(value, at);
    return this;
  }

  hyper(value: bigint): this {
    requireRange(value >= hyperMin && value <= hyperMax, value, 'a hyper');
    const at = this.#room(hyperBytes);
    this.#bytes.writeBigInt64BE(value, at);
    return this;
  }

  unsignedHyper(value: bigint): this {
    requireRange(value >= 0n && value <= unsignedHyperMax, value, 'an unsigned hyper');
    const at = this.#room(hyperBytes);
    this.#bytes.writeBigUInt64BE(value, at);
    return this;
  }

  bool(value: boolean): this {
    return this.unsigned(value ? 1 : 0);
  }

  opaqueFixed(bytes: Uint8Array, length: number): this {
    requireRange(bytes.length === length, bytes.length, `opaque bytes of length ${length}`);
    return this.#raw(bytes);
  }

  opaque(bytes: Uint8Array, bytesMax: number): this {
    if (bytes.length > bytesMax) {
      throw new ProtocolError('too long', `${bytes.length} bytes where ${bytesMax} are allowed`);
    }
    return this.unsigned(bytes.length).#raw(bytes);
  }

  string(text: string, bytesMax: number): this {
    if (text.includes('\0')) throw new ProtocolError('bad value', 'a string with a zero byte');
    // A lone surrogate has no UTF-8; what would be sent in its place names something else.
    if (loneSurrogate.test(text)) throw new ProtocolError('bad value', 'a string that has no UTF-8');
    return this.opaque(Buffer.from(text), bytesMax);
  }

  optional<Value>(value: Value | undefined, write: (value: Value) => void): this {
    this.bool(value !== undefined);
    if (value !== undefined) write(value);
    return this;
  }

  array<Value>(values: readonly Value[], countMax: number, write: (value: Value) => void): this {
    if (values.length > countMax) {
      throw new ProtocolError('too long', `${values.length} elements where ${countMax} are allowed`);
    }
    this.unsigned(values.length);
    for (const value of values) write(value);
    return this;
  }

  #raw(bytes: Uint8Array): this {
    const pad = padding(bytes.length);
    const at = this.#room(bytes.length + pad);
    this.#bytes.set(bytes, at);
    this.#bytes.fill(0, at + bytes.length, at + bytes.length + pad);
    return this;
  }
}

function requireRange(fits: boolean, value: unknown, what: string): void {
  if (!fits) throw new ProtocolError('bad value', `${String(value)} is not ${what}`);
}

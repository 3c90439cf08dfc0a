/**
 * Protocol buffers, as far as etcd's messages need them: varints, bytes, strings, messages inside messages
 * (https://protobuf.dev/programming-guides/encoding). Pure functions of bytes; every length is checked before it is believed.
 */

/** `number`: a 64-bit integer below 2^53, as revisions and counts are; `id`: one that uses all 64 bits. */
export type Kind = 'bytes' | 'string' | 'bool' | 'number' | 'id' | MessageType<object>;

export interface Field {
  readonly number: number;
  readonly kind: Kind;
  readonly repeated?: true;
}

/** A message: its fields by name. */
export class MessageType<Message extends object> {
  readonly #byName: readonly (readonly [name: string, field: Field])[];
  readonly #byNumber: ReadonlyMap<number, readonly [name: string, field: Field]>;

  constructor(fields: Readonly<Record<keyof Required<Message> & string, Field>>) {
    this.#byName = Object.entries<Field>(fields);
    this.#byNumber = new Map(this.#byName.map((entry) => [entry[1].number, entry]));
  }

  /** What is undefined is left out; what is given is written, a zero too, as a choice (`oneof`) needs it. */
  encode(message: Partial<Message>): Buffer {
    const writer = new Writer();
    this.write(writer, message);
    return writer.bytes();
  }

  /** As a part of another message. */
  write(writer: Writer, message: Partial<Message>): void {
    for (const [name, field] of this.#byName) {
      const value = (message as Record<string, unknown>)[name];
      if (value === undefined) continue;
      if (field.repeated === true) {
        for (const one of value as readonly unknown[]) writeField(writer, field, one);
      } else {
        writeField(writer, field, value);
      }
    }
  }

  /** Fields that are missing have their default; a missing message is undefined. Throws `RangeError` for what is no such message. */
  decode(bytes: Buffer): Message {
    const message: Record<string, unknown> = {};
    for (const [name, field] of this.#byName) message[name] = defaultOf(field);
    const reader = new Reader(bytes);
    while (!reader.atEnd) {
      const tag = reader.number();
      const wireType = tag % 8;
      const entry = this.#byNumber.get(Math.floor(tag / 8));
      if (entry === undefined) {
        reader.skip(wireType);
        continue;
      }
      const [name, field] = entry;
      const value = readField(reader, field.kind, wireType);
      if (field.repeated === true) (message[name] as unknown[]).push(value);
      else message[name] = value;
    }
    return message as Message;
  }
}

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

function writeField(writer: Writer, { number, kind }: Field, value: unknown): void {
  if (kind === 'number') {
    writer.number(number * 8 + VARINT);
    writer.number(value as number);
  } else if (kind === 'bool') {
    writer.number(number * 8 + VARINT);
    writer.number(value === true ? 1 : 0);
  } else if (kind === 'id') {
    writer.number(number * 8 + VARINT);
    writer.id(value as bigint);
  } else {
    writer.number(number * 8 + DELIMITED);
    if (kind === 'bytes' || kind === 'string') writer.text(value as string | Buffer);
    else writer.delimited(() => kind.write(writer, value as object));
  }
}

function defaultOf({ kind, repeated }: Field): unknown {
  if (repeated === true) return [];
  if (kind === 'bytes') return Buffer.alloc(0);
  if (kind === 'string') return '';
  if (kind === 'bool') return false;
  if (kind === 'number') return 0;
  if (kind === 'id') return 0n;
  return undefined;
}

function readField(reader: Reader, kind: Kind, wireType: number): unknown {
  if (kind === 'number' || kind === 'bool' || kind === 'id') {
    if (wireType !== VARINT) throw new RangeError(`a number of wire type ${wireType}`);
    if (kind === 'id') return reader.id();
    return kind === 'bool' ? reader.number() !== 0 : reader.number();
  }
  if (wireType !== DELIMITED) throw new RangeError(`bytes of wire type ${wireType}`);
  const bytes = reader.bytes();
  if (kind === 'bytes') return bytes;
  return kind === 'string' ? bytes.toString('utf8') : kind.decode(bytes);
}

/** 64 bits are ten groups of seven. */
const varintBytesMax = 10;

/** One buffer that grows, since a guest's transaction has hundreds of small parts. */
class Writer {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 0;

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  number(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} cannot be written`);
    this.#reserve(varintBytesMax);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#at++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#buffer[this.#at++] = rest;
  }

  id(value: bigint): void {
    this.#reserve(varintBytesMax);
    let rest = BigInt.asUintN(64, value);
    while (rest >= 0x80n) {
      this.#buffer[this.#at++] = Number(rest & 0x7fn) + 0x80;
      rest >>= 7n;
    }
    this.#buffer[this.#at++] = Number(rest);
  }

  text(value: string | Buffer): void {
    const length = typeof value === 'string' ? Buffer.byteLength(value) : value.length;
    this.number(length);
    this.#reserve(length);
    if (typeof value === 'string') this.#buffer.write(value, this.#at);
    else value.copy(this.#buffer, this.#at);
    this.#at += length;
  }

  /** What `write` writes, with its length in front, which is known only then. */
  delimited(write: () => void): void {
    const start = this.#at;
    // Most parts are shorter than 128 bytes, and their length is one byte.
    this.#reserve(1);
    this.#at += 1;
    write();
    const length = this.#at - start - 1;
    const more = length < 0x80 ? 0 : length < 0x4000 ? 1 : length < 0x20_0000 ? 2 : 3;
    if (more > 0) {
      this.#reserve(more);
      this.#buffer.copyWithin(start + 1 + more, start + 1, this.#at);
    }
    this.#at = start;
    this.number(length);
    // etcd takes no message of 256 MiB.
    if (this.#at !== start + 1 + more) throw new RangeError(`a message of ${length} bytes`);
    this.#at += length;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(2 * this.#buffer.length + bytes);
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  id(): bigint {
    let value = 0n;
    for (let group = 0; group < varintBytesMax; group++) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << BigInt(7 * group);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new RangeError('a number of more than 64 bits');
  }

  number(): number {
    let value = 0;
    let weight = 1;
    const start = this.#at;
    for (let group = 0; group < varintBytesMax; group++) {
      const byte = this.#byte();
      value += (byte & 0x7f) * weight;
      weight *= 0x80;
      if (byte < 0x80 && Number.isSafeInteger(value)) return value;
      if (byte < 0x80) break;
    }
    // Negative ones are written as 64 bits: etcd has -1 for the time to live of a lease that is gone.
    this.#at = start;
    const signed = Number(BigInt.asIntN(64, this.id()));
    if (Number.isSafeInteger(signed)) return signed;
    throw new RangeError('a number of more than 53 bits');
  }

  bytes(): Buffer {
    const length = this.number();
    if (length < 0 || length > this.#bytes.length - this.#at) throw new RangeError('it ends too early');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  skip(wireType: number): void {
    if (wireType === VARINT) this.id();
    else if (wireType === DELIMITED) this.bytes();
    else if (wireType === FIXED64) this.#forward(8);
    else if (wireType === FIXED32) this.#forward(4);
    else throw new RangeError(`wire type ${wireType}`);
  }

  #forward(length: number): void {
    if (length > this.#bytes.length - this.#at) throw new RangeError('it ends too early');
    this.#at += length;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new RangeError('it ends too early');
    return byte;
  }
}

/**
 * What is held, in a file: for the case that the daemon and its keeper both end, and to know after the end of the daemon
 * alone which answers had gone out.
 *
 * It stands on a file system that lives as long as the kernel (/run), so it survives processes, not hosts, and nothing is
 * synced. It is mapped into memory: an entry costs no system call. An entry has a checksum; one that was not written
 * to its end does not count. It is written before the answer goes out.
 *
 * Layout, little-endian: the header of 64 bytes (a line that says what it is, the boot at 24, where the entries end as
 * u32 units of 64 bytes at 60), then entries, each a multiple of 64 bytes:
 *
 *     0  u32  units of 64 bytes; stays when the entry is free
 *     4  u32  bytes of the record; 0: free
 *     8  u32  checksum of the id and the record
 *    12  u8   1: the owner may not have had the answer to the last change
 *    16  u48  id
 *    24       the record
 */
import { closeSync, constants, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { bootId } from '../../system/host.js';
import { mapFile, type MappedFile } from '../../system/mapped-file.js';
import { crc32 } from './crc32.js';

const magic = 'holdfast-locks 3\n';
const bootIdAt = 24;
const endAt = 60;
const unitBytes = 64;
const headerBytes = unitBytes;
const at = { units: 0, length: 4, sum: 8, unanswered: 12, id: 16, record: 24 } as const;
const firstBytes = 256 * 1024;

const { O_RDWR, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;

/** Where an entry is. */
export type JournalEntry = number;

export class Journal {
  readonly #path: string;
  readonly #fd: number;
  #file: MappedFile;
  #bytes: Buffer;
  #end = headerBytes;
  /** Entries that were given back, by their size: the last one first, which the processor still has at hand. */
  readonly #free = new Map<number, JournalEntry[]>();

  /**
   * Starts a new file beside the old one, whose place it takes with `publish`. Throws what the file system says; then there
   * is none any more: the old one would say that what is taken from now on was given back.
   */
  constructor(path: string) {
    this.#path = path;
    const next = `${path}.new`;
    try {
      rmSync(next, { force: true });
      this.#fd = openSync(next, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
    try {
      this.#file = mapFile(this.#fd, firstBytes);
    } catch (error) {
      closeSync(this.#fd);
      for (const one of [next, path]) rmSync(one, { force: true });
      throw error;
    }
    this.#bytes = this.#file.bytes;
    this.#bytes.write(magic, 0, 'latin1');
    this.#bytes.write(bootId(), bootIdAt, 'latin1');
    this.#bytes.writeUInt32LE(this.#end / unitBytes, endAt);
  }

  publish(): void {
    renameSync(`${this.#path}.new`, this.#path);
  }

  /** Writes an entry: the record is `source` from `start` to `end`. Throws `ENOSPC` where the file cannot grow. */
  add(id: number, source: Buffer, start: number, end: number, unanswered: boolean): JournalEntry {
    const length = end - start;
    const units = Math.ceil((at.record + length) / unitBytes);
    const entry = this.#free.get(units)?.pop() ?? this.#grow(units);
    const bytes = this.#bytes;
    source.copy(bytes, entry + at.record, start, end);
    bytes.writeUIntLE(id, entry + at.id, 6);
    bytes[entry + at.unanswered] = unanswered ? 1 : 0;
    bytes.writeUInt32LE(crc32(bytes, entry + at.id, entry + at.record + length), entry + at.sum);
    bytes.writeUInt32LE(length, entry + at.length);
    return entry;
  }

  /** Whether the owner may not have had the answer to the last change. */
  setUnanswered(entry: JournalEntry, unanswered: boolean): void {
    this.#bytes[entry + at.unanswered] = unanswered ? 1 : 0;
  }

  remove(entry: JournalEntry): void {
    this.#bytes.writeUInt32LE(0, entry + at.length);
    const units = this.#bytes.readUInt32LE(entry + at.units);
    const free = this.#free.get(units);
    if (free === undefined) this.#free.set(units, [entry]);
    else free.push(entry);
  }

  /** Makes it none, and one before that it has not replaced yet: `readJournal` finds nothing. */
  discard(): void {
    this.#bytes.fill(0, 0, magic.length);
    this.close();
    for (const one of [`${this.#path}.new`, this.#path]) rmSync(one, { force: true });
  }

  close(): void {
    this.#file.unmap();
    closeSync(this.#fd);
  }

  #grow(units: number): JournalEntry {
    const entry = this.#end;
    const end = entry + units * unitBytes;
    if (end > this.#bytes.length) {
      const before = this.#file;
      this.#file = mapFile(this.#fd, Math.max(end, this.#bytes.length * 2));
      this.#bytes = this.#file.bytes;
      before.unmap();
    }
    this.#end = end;
    this.#bytes.writeUInt32LE(units, entry + at.units);
    this.#bytes.writeUInt32LE(end / unitBytes, endAt);
    return entry;
  }
}

export interface JournalRecord {
  readonly record: string;
  readonly unanswered: boolean;
}

export interface ReadJournal {
  /** What was held when it ended, by id. */
  readonly held: ReadonlyMap<number, JournalRecord>;
  /** Entries that were not written to their end: more than one is not what the end of a process leaves. */
  readonly damaged: number;
}

/** What a journal of this boot says; undefined: there is none. */
export function readJournal(path: string): ReadJournal | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  const said = (start: number, end: number): string => bytes.toString('latin1', start, end);
  if (said(0, magic.length) !== magic) return undefined;
  const boot = bootId();
  if (said(bootIdAt, bootIdAt + boot.length) !== boot) return undefined;
  const held = new Map<number, JournalRecord>();
  let damaged = 0;
  let entry = headerBytes;
  const entriesEnd = bytes.length < headerBytes ? Infinity : bytes.readUInt32LE(endAt) * unitBytes;
  while (entry < entriesEnd) {
    const units = entry + at.record <= bytes.length ? bytes.readUInt32LE(entry + at.units) : 0;
    const next = entry + units * unitBytes;
    const start = entry + at.record;
    const end = units === 0 || next > bytes.length ? Infinity : start + bytes.readUInt32LE(entry + at.length);
    // What follows cannot be found.
    if (end > next) return { held, damaged: Infinity };
    if (end > start && crc32(bytes, entry + at.id, end) === bytes.readUInt32LE(entry + at.sum)) {
      const record = bytes.toString('utf8', start, end);
      held.set(bytes.readUIntLE(entry + at.id, 6), {
        record,
        unanswered: bytes[entry + at.unanswered] === 1,
      });
    } else if (end > start) {
      damaged++;
    }
    entry = next;
  }
  return { held, damaged };
}

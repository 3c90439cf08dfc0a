/**
 * What is held, in a file: for the case that the daemon and its keeper both end.
 *
 * It stands on a file system that lives as long as the kernel (/run), so it survives processes, not hosts, and nothing is
 * synced. One line for each change, with a checksum; a line that was not written to its end is the last one, and
 * does not count. A line is written before the answer to the change goes out.
 */
import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { crc32 } from './crc32.js';

const header = 'holdfast-locks 1\n';
/** Then it is written anew, if most of it is of the past. */
const bytesMax = 16 * 1024 * 1024;

/** Longer ones are written from a buffer of their own. */
const lineBytesMax = 16 * 1024;
/** Eight digits and a space. */
const sumBytes = 9;

const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND, O_NOFOLLOW } = constants;

export class Journal {
  readonly #path: string;
  readonly #live: () => Iterable<readonly [id: number, record: string]>;
  #fd: number;
  #bytes = 0;
  /** A line as it is written: strings cost Node three times as much as bytes. */
  readonly #line = Buffer.alloc(lineBytesMax);

  /**
   * Starts a new file in place of the old one, which was read before (`readJournal`).
   * @param live what is held now: what a file that has grown too large is written anew from.
   */
  constructor(path: string, live: () => Iterable<readonly [id: number, record: string]>) {
    this.#path = path;
    this.#live = live;
    this.#fd = this.#writeAnew();
  }

  held(id: number, record: string): void {
    this.#append(`+${id} ${record}`);
  }

  free(id: number): void {
    this.#append(`-${id}`);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #append(text: string): void {
    const buffer =
      text.length * 3 + sumBytes < lineBytesMax ? this.#line : Buffer.alloc(text.length * 3 + sumBytes + 1);
    this.#bytes += writeSync(this.#fd, buffer, 0, writeLine(buffer, text));
    if (this.#bytes < bytesMax) return;
    const before = this.#fd;
    this.#fd = this.#writeAnew();
    closeSync(before);
  }

  #writeAnew(): number {
    const next = `${this.#path}.new`;
    rmSync(next, { force: true });
    const fd = openSync(next, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0o600);
    const lines = [header];
    for (const [id, record] of this.#live()) lines.push(line(`+${id} ${record}`));
    writeFileSync(fd, lines.join(''));
    this.#bytes = 0;
    renameSync(next, this.#path);
    return fd;
  }
}

function line(text: string): string {
  const buffer = Buffer.alloc(text.length * 3 + sumBytes + 1);
  return buffer.toString('utf8', 0, writeLine(buffer, text));
}

/** Gives the length. */
function writeLine(buffer: Buffer, text: string): number {
  const end = sumBytes + buffer.write(text, sumBytes);
  buffer.write(`${crc32(buffer, sumBytes, end).toString(16).padStart(8, '0')} `, 'latin1');
  buffer[end] = 0x0a;
  return end + 1;
}

export interface ReadJournal {
  /** Records of what was held when it ends, by id. */
  readonly held: ReadonlyMap<number, string>;
  /** Lines that are not whole, or not of this form; more than one means that it was damaged. */
  readonly damaged: number;
}

/** What a journal says; undefined: there is none. */
export function readJournal(path: string): ReadJournal | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  const held = new Map<number, string>();
  const [first, ...lines] = text.split('\n');
  if (`${first}\n` !== header) return { held, damaged: 1 };
  let damaged = 0;
  for (const one of lines) {
    if (one === '') continue;
    const change = one.slice(9);
    const found = /^(?<what>[+-])(?<id>\d{1,15})(?: (?<record>.*))?$/.exec(change)?.groups;
    if (found === undefined || `${one}\n` !== line(change)) {
      damaged++;
      continue;
    }
    const id = Number(found['id']);
    if (found['what'] === '+') held.set(id, found['record'] ?? '');
    else held.delete(id);
  }
  return { held, damaged };
}

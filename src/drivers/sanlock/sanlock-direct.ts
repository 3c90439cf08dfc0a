/**
 * `sanlock direct`: reads and writes lease areas past the page cache, without the daemon, with the rights of whoever calls. The
 * parsers are functions of its text (3.8).
 */
import { execFile } from 'node:child_process';
import { HoldfastError } from '../../errors.js';

const answerBytesMax = 64 * 1024 * 1024;
/** A file system that does not answer must not hang the command: sanlock's own I/O timeout is 10 s. */
const answerMsMax = 60_000;

/** sanlock.h and leader.h: what an area begins with. */
const leaseMagic = '0x6152010';
const lockspaceMagic = '0x12212010';

/** What stands at the beginning of an area. Owner 0 or timestamp 0: nobody has it. */
export interface AreaHead {
  readonly kind: 'lease' | 'lockspace';
  readonly lockspace: string;
  /** Of a lease. Of a lockspace, the host in its first place. */
  readonly name: string;
  readonly bytes: number;
  readonly sectorBytes: number;
  readonly version: string;
}

/** A line of `dump`: who has a lease, or a host that is in a lockspace. */
export interface AreaOwner {
  readonly offset: number;
  readonly lockspace: string;
  /** Of the lease, or of the host. */
  readonly name: string;
  readonly timestamp: number;
  readonly hostId: number;
  readonly generation: string;
  /** Missing: a host of a lockspace. */
  readonly version?: string;
  readonly shared: readonly { readonly hostId: number; readonly generation: string }[];
}

/** As sanlock's commands take a path: a colon has a backslash. */
export function escapedPath(path: string): string {
  return path.replaceAll(':', '\\:');
}

/** What is at a place; undefined: no area of sanlock's. Throws `NOT_PERMITTED`, `NO_SUCH_FILE`, `DRIVER_FAILED`. */
export async function readHead(path: string, offset: number): Promise<AreaHead | undefined> {
  // It looks for a name that is not there, and says what is.
  const { text } = await direct('read_leader', '-r', `-:-:${escapedPath(path)}:${offset}`);
  return parseHead(text);
}

export function parseHead(text: string): AreaHead | undefined {
  const value = (key: string): string => new RegExp(`^${key} (.*)$`, 'm').exec(text)?.[1] ?? '';
  // After any other error than these it prints memory that nobody has written.
  const known = ['0', '-223', '-226', '-227'].includes(value('read_leader done'));
  const kind = { [leaseMagic]: 'lease' as const, [lockspaceMagic]: 'lockspace' as const }[value('magic')];
  if (!known || kind === undefined) return undefined;
  const mebibytes = (Number(value('flags')) >> 4) & 0xf;
  return {
    kind,
    lockspace: value('space_name'),
    name: value('resource_name'),
    // Areas of sanlock before 3.7 do not say: 1 MiB, or 8 with sectors of 4096 bytes.
    bytes: (mebibytes === 0 ? (value('sector_size') === '4096' ? 8 : 1) : mebibytes) * 1024 * 1024,
    sectorBytes: Number(value('sector_size')),
    version: value('lver'),
  };
}

/** Who has what in a part of a file or device. Areas of which nobody has anything may be missing. */
export async function dumpAreas(path: string, offset: number, bytes: number): Promise<readonly AreaOwner[]> {
  const { text } = await direct('dump', `${escapedPath(path)}:${offset}:${bytes}`);
  return parseDump(text);
}

export function parseDump(text: string): readonly AreaOwner[] {
  const found: (AreaOwner & { shared: { hostId: number; generation: string }[] })[] = [];
  for (const line of text.split('\n')) {
    const [, hostId, generation] = /^\s+(\d{4,}) (\d{4,}) SH$/.exec(line) ?? [];
    if (hostId !== undefined && generation !== undefined) {
      found.at(-1)?.shared.push({ hostId: Number(hostId), generation: String(Number(generation)) });
      continue;
    }
    const area = /^(\d{8,}) (.*) (\d{10,}) (\d{4,}) (\d{4,})(?: (\d+))?\s*$/.exec(line);
    if (area === null) continue;
    const [, offset, names = '', timestamp, owner, lives = '0', version] = area;
    const [lockspace, name] = twoNames(names.trim());
    found.push({
      offset: Number(offset),
      lockspace,
      name,
      timestamp: Number(timestamp),
      hostId: Number(owner),
      generation: String(Number(lives)),
      ...(version === undefined ? {} : { version }),
      shared: [],
    });
  }
  return found;
}

/** Columns that are filled from the left: where a name has blanks itself, there are more of them between the two. */
function twoNames(text: string): readonly [string, string] {
  const [first = '', second] = text.split(/ {2,}/);
  if (second !== undefined) return [first, text.slice(first.length).trim()];
  const blank = text.indexOf(' ');
  return blank === -1 ? ['', text] : [text.slice(0, blank), text.slice(blank + 1)];
}

/** Makes an area, whatever is there. Throws `NOT_PERMITTED`, `DRIVER_FAILED`. */
export async function initArea(kind: 'lease' | 'lockspace', words: string): Promise<void> {
  const { status, text } = await direct('init', kind === 'lease' ? '-r' : '-s', words);
  const result = /^init done (-?\d+)$/m.exec(text)?.[1];
  if (status === 0 && result === '0') return;
  const said = text.trim().replaceAll('\n', '; ');
  throw new HoldfastError('DRIVER_FAILED', `sanlock could not make ${words}: ${said || 'no answer'}`, {
    remedy:
      result === '-22'
        ? 'The offset has to be a multiple of the size of an area (1 MiB).'
        : 'See the text above.',
  });
}

function direct(...args: readonly string[]): Promise<{ readonly status: number; readonly text: string }> {
  // Debian keeps it in /usr/sbin, which a user's PATH may not have.
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
  return new Promise((resolve, reject) => {
    execFile(
      'sanlock',
      ['direct', ...args],
      { env, timeout: answerMsMax, maxBuffer: answerBytesMax },
      (error, stdout, stderr) => {
        if (error === null) resolve({ status: 0, text: stdout + stderr });
        else if (typeof error.code === 'number') resolve({ status: error.code, text: stdout + stderr });
        else reject(toolFault(error));
      },
    );
  });
}

function toolFault(error: Error & { readonly code?: string | number | null | undefined }): HoldfastError {
  if (error.code === 'ENOENT') {
    return new HoldfastError('DRIVER_FAILED', 'the command sanlock is not installed', {
      cause: error,
      remedy: 'Install it: apt install sanlock (Fedora: dnf install sanlock).',
    });
  }
  return new HoldfastError('DRIVER_FAILED', `the command sanlock did not come to its end: ${error.message}`, {
    cause: error,
    remedy: 'Check whether the storage answers.',
  });
}

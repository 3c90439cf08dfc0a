/**
 * `sanlock direct`: reads and writes lease areas past the page cache, without the daemon, with the rights of whoever calls. The
 * parsers are functions of its text (3.8).
 */
import { execFile } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { LeaseArea } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import { mebibyte, type AreaForm } from './area-form.js';
import { initFault, readFault } from './direct-faults.js';

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

/**
 * What is at a place; undefined: no area of sanlock's. sanlock opens it for writing, whatever it does with it.
 * @throws HoldfastError NOT_PERMITTED, NO_SUCH_FILE, BAD_DATA, DRIVER_FAILED
 */
export async function readHead(path: string, offset: number): Promise<AreaHead | undefined> {
  // It looks for a name that is not there, and says what is.
  const { text } = await withWords(path, (words) => direct('read_leader', '-r', `-:-:${words}:${offset}`));
  const result = Number(/^read_leader done (-?\d+)$/m.exec(text)?.[1] ?? Number.NaN);
  if (!nothingThere.includes(result)) throw readFault(result, text, path, offset);
  return parseHead(text);
}

/** Results of `read_leader` that say what is there: what was asked for, something else, nothing, the end of the file. */
const nothingThere: readonly number[] = [0, -223, -226, -227, -90];

/**
 * A path as sanlock's command reads it. Of one with a colon in it a size may be read (`a\:1M` becomes `a:1048576`, 3.8.5), another
 * file than the one that is meant: so it is given as a descriptor of this process.
 */
async function withWords<Result>(path: string, work: (words: string) => Promise<Result>): Promise<Result> {
  if (!path.includes(':')) return work(path);
  const fd = openSync(path, pathOnly);
  try {
    return await work(`/proc/${process.pid}/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

/** O_PATH (open(2)): whoever opens it by its number is asked for the rights. */
const pathOnly = 0o10000000;

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
    bytes: (mebibytes === 0 ? (value('sector_size') === '4096' ? 8 : 1) : mebibytes) * mebibyte,
    sectorBytes: Number(value('sector_size')),
    version: value('lver'),
  };
}

/** Who has what in an area. A lockspace that nobody has joined may be missing. */
export async function dumpAreas(path: string, offset: number, bytes: number): Promise<readonly AreaOwner[]> {
  const { text } = await withWords(path, (words) => direct('dump', `${words}:${offset}:${bytes}`));
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

/**
 * Makes an area, whatever is there.
 * @throws HoldfastError NOT_PERMITTED, NO_SUCH_FILE, DRIVER_FAILED
 */
export async function initArea(area: LeaseArea, form: AreaForm): Promise<void> {
  const { lockspace, name, path, offset } = area;
  const { status, text } = await withWords(path, (words) => {
    const place = `${words}:${offset}`;
    const what =
      name === undefined ? ['-s', `${lockspace}:0:${place}`] : ['-r', `${lockspace}:${name}:${place}`];
    return direct('init', ...what, '-Z', String(form.sectorBytes), '-A', `${form.bytes / mebibyte}M`);
  });
  const result = Number(/^init done (-?\d+)$/m.exec(text)?.[1] ?? Number.NaN);
  if (status === 0 && result === 0) return;
  throw initFault(result, text, area, form);
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
  if (error.code === 'EACCES') {
    return new HoldfastError('NOT_PERMITTED', 'the command sanlock may not be run by this user', {
      cause: error,
      remedy: 'See its permissions: ls -l /usr/sbin/sanlock.',
    });
  }
  return new HoldfastError('DRIVER_FAILED', `the command sanlock did not come to its end: ${error.message}`, {
    cause: error,
    remedy: 'Check whether the storage answers.',
  });
}

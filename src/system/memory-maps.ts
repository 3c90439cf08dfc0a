/**
 * Which processes have a file mapped into their memory: a walk over /proc/PID/maps (proc_pid_maps(5)). A map outlives
 * the descriptor that it was made with, and writes without any descriptor.
 *
 * The table has the file system's device, which btrfs and overlay do not give files in stat(2). So a line is only a
 * candidate by its inode number; /proc/PID/map_files/RANGE then leads to the file itself, as a descriptor does.
 * Following that takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE; without them the device of the table has to do.
 *
 * Not seen: maps of a block device by a node outside of /dev, and on kernels before 6.8 maps of files on overlay, where
 * the table names the file below.
 */
import { closeSync, lstatSync, openSync, readlinkSync, readSync, statSync } from 'node:fs';
import { monotonicMs } from './clock.js';
import type { BigIntStats } from 'node:fs';
import { deviceName, inodeOf, sameInode } from './inode.js';
import { maybeSameDevice } from './lock-lines.js';
import { nameText } from './name-text.js';
import type { FileTarget } from './open-files.js';
import { listPids, readProcessStat } from './process.js';
import { sharedWalk } from './shared-walk.js';

export interface Mapping<Target> {
  readonly target: Target;
  readonly pid: number;
  /**
   * What is stored there reaches the file: it is shared, and may be written or can be made so (mprotect(2)), because
   * the descriptor was open for writing.
   */
  readonly writes: boolean;
  /** Of the process that had it (ProcessStat): a pid is given again. Missing where that does not show. */
  readonly startTime?: number;
  /** The file as the kernel names it: for people. */
  readonly path?: string;
  /** The line of the table, without the blanks in front of the name. */
  readonly text: string;
}

export interface Mappings<Target> {
  /** One for each process and target: a writing one where there is one, else the first. */
  readonly mappings: readonly Mapping<Target>[];
  /** Processes whose maps may not be seen. */
  readonly denied: readonly number[];
}

export interface FindMappingsOptions {
  /** Where procfs is mounted, or a recorded tree of one. */
  readonly root?: string;
  /** Only these processes; without it all. */
  readonly pids?: readonly number[];
}

/** A process can have 65,530 maps (sysctl vm.max_map_count), raised to a million by some programs, of 100 bytes. */
const mapsBytesMax = 256 * 1024 * 1024;
/** Most tables are smaller; kept from one process to the next. */
const tableBytes = 256 * 1024;
/** How long one turn of the event loop is used. */
const sliceMs = 8;

/**
 * Every process with a map of one of the targets. What vanishes meanwhile, or is not of the form, is passed over.
 * Calls in the same turn of the event loop share one walk, unless they name processes.
 */
export async function findMappings<Target extends FileTarget>(
  targets: readonly Target[],
  { root = '/proc', pids }: FindMappingsOptions = {},
): Promise<Mappings<Target>> {
  const found = await (pids === undefined ? walkOnce(root, targets) : readMaps(root, targets, pids));
  const own = new Set<FileTarget>(targets);
  return {
    ...found,
    mappings: found.mappings.filter((one): one is Mapping<Target> => own.has(one.target)),
  };
}

const walkOnce = sharedWalk((root, targets: readonly FileTarget[]) =>
  readMaps(root, targets, listPids(root)),
);

async function readMaps(
  root: string,
  targets: readonly FileTarget[],
  pids: readonly number[],
): Promise<Mappings<FileTarget>> {
  const needles = needlesOf(targets);
  const mappings: Mapping<FileTarget>[] = [];
  const denied: number[] = [];
  if (needles.length === 0) return { mappings, denied };
  const table = { bytes: Buffer.allocUnsafe(tableBytes) };
  let sliceStart = monotonicMs();
  for (const pid of pids) {
    const found = mapsOf(root, pid, needles, targets, table);
    if (found === 'denied') denied.push(pid);
    else mappings.push(...found);
    if (monotonicMs() - sliceStart > sliceMs) {
      await new Promise(setImmediate);
      sliceStart = monotonicMs();
    }
  }
  return { mappings, denied };
}

/** One that has a map is read once more between two looks at its start time: all that is said is true of one process. */
function mapsOf(
  root: string,
  pid: number,
  needles: readonly Buffer[],
  targets: readonly FileTarget[],
  table: { bytes: Buffer },
): readonly Mapping<FileTarget>[] | 'denied' {
  const folder = `${root}/${pid}`;
  const read = (startTime?: number): readonly Mapping<FileTarget>[] | 'denied' => {
    const bytes = readTable(`${folder}/maps`, table);
    if (bytes === 'denied') return bytes;
    const found = mappingsIn(bytes, needles, targets, folder, pid);
    return startTime === undefined ? found : found.map((one) => ({ ...one, startTime }));
  };
  const first = read();
  if (first === 'denied' || first.length === 0) return first;
  const startTime = readProcessStat(pid, { root })?.startTime;
  if (startTime === undefined) return first;
  const again = read(startTime);
  return readProcessStat(pid, { root })?.startTime === startTime ? again : [];
}

/** What a line of interest has in it: nearly every table has none of these, and is not looked at any closer. */
function needlesOf(targets: readonly FileTarget[]): Buffer[] {
  const texts = targets.map((target) => (target.kind === 'inode' ? ` ${target.inode.ino} ` : ' /dev/'));
  return [...new Set(texts)].map((text) => Buffer.from(text));
}

/** Up to the next call with the same `table`. Empty: it is gone, or one of the kernel's own. */
function readTable(path: string, table: { bytes: Buffer }): Buffer | 'denied' {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    let length = 0;
    for (;;) {
      if (length === table.bytes.length) {
        if (length >= mapsBytesMax) break;
        table.bytes = Buffer.concat([table.bytes], length * 2);
      }
      const count = readSync(fd, table.bytes, length, table.bytes.length - length, null);
      if (count === 0) break;
      length += count;
    }
    return table.bytes.subarray(0, length);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EACCES' || code === 'EPERM' ? 'denied' : Buffer.alloc(0);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function mappingsIn(
  bytes: Buffer,
  needles: readonly Buffer[],
  targets: readonly FileTarget[],
  folder: string,
  pid: number,
): Mapping<FileTarget>[] {
  const found = new Map<FileTarget, Mapping<FileTarget>>();
  const lines = new Set(needles.flatMap((needle) => linesWith(bytes, needle)));
  for (const start of [...lines].toSorted((a, b) => a - b)) {
    const line = parseMapLine(bytes.subarray(start, endOfLine(bytes, start)));
    if (line === undefined) continue;
    // Most programs have some maps of the same file; once one of them writes, the others prove nothing more.
    const open = targets.filter((target) => found.get(target)?.writes !== true && maybeOf(line, target));
    if (open.length === 0) continue;
    const file = lookAtMap(line, folder);
    const writes = line.shared && (line.writable || file.openForWriting);
    const path = file.path ?? line.path;
    for (const target of open.filter(file.is)) {
      if (found.has(target) && !writes) continue;
      found.set(target, { target, pid, writes, ...(path === undefined ? {} : { path }), text: line.text });
    }
  }
  return [...found.values()];
}

/** Where the lines start that have `needle` in them. */
function linesWith(bytes: Buffer, needle: Buffer): number[] {
  const starts: number[] = [];
  for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, endOfLine(bytes, at))) {
    starts.push(bytes.lastIndexOf(0x0a, at) + 1);
  }
  return starts;
}

function endOfLine(bytes: Buffer, at: number): number {
  const end = bytes.indexOf(0x0a, at);
  return end === -1 ? bytes.length : end;
}

export interface MapLine {
  /** As the file in map_files is called: without the zeros in front that the table has. */
  readonly range: string;
  readonly writable: boolean;
  readonly shared: boolean;
  /** `major:minor` in decimal. */
  readonly dev: string;
  readonly ino: string;
  /** As the table has it: with `\\012` for a newline, and for nothing else, so that such text is no proof of one. */
  readonly path?: string;
  readonly text: string;
}

const linePattern =
  /^(?<start>[0-9a-f]{1,16})-(?<end>[0-9a-f]{1,16}) (?<flags>[r-][w-][x-][sp]) [0-9a-f]+ (?<major>[0-9a-f]{2,8}):(?<minor>[0-9a-f]{2,8}) (?<ino>\d{1,20})(?: +(?=[^ ]|$)|$)/;

/** One line of /proc/PID/maps, without its end; undefined: it is not of that form. */
export function parseMapLine(bytes: Buffer): MapLine | undefined {
  // latin1: one character for each byte, so that places in the text are places in the bytes.
  const found = linePattern.exec(bytes.toString('latin1'));
  const { start, end, flags, major, minor, ino } = found?.groups ?? {};
  if (found === null || flags === undefined || ino === undefined) return undefined;
  const path = nameText(bytes.subarray(found[0].length));
  return {
    range: `${withoutZeros(start)}-${withoutZeros(end)}`,
    writable: flags[1] === 'w',
    shared: flags[3] === 's',
    dev: `${Number.parseInt(major ?? '', 16)}:${Number.parseInt(minor ?? '', 16)}`,
    ino,
    ...(path === '' ? {} : { path }),
    text: [found[0].trimEnd(), path].join(' ').trimEnd(),
  };
}

function withoutZeros(hex = ''): string {
  return hex.replace(/^0+(?=.)/, '');
}

function maybeOf(line: MapLine, target: FileTarget): boolean {
  if (target.kind === 'device') return line.path?.startsWith('/dev/') ?? false;
  return line.ino === target.inode.ino && maybeSameDevice(line.dev, target.inode.dev);
}

interface MappedFile {
  readonly is: (target: FileTarget) => boolean;
  /** The descriptor that the map was made with was open for writing. */
  readonly openForWriting: boolean;
  readonly path?: string;
}

function lookAtMap(line: MapLine, folder: string): MappedFile {
  const link = `${folder}/map_files/${line.range}`;
  let openForWriting = false;
  try {
    // The link's own permissions say how the file was opened (map_files_d_instantiate in fs/proc/base.c).
    openForWriting = (lstatSync(link).mode & 0o200) !== 0;
    const stats = statSync(link, { bigint: true });
    return { openForWriting, is: isFile(stats), path: nameText(readlinkSync(link, { encoding: 'buffer' })) };
  } catch {
    return { openForWriting, is: isNamed(line, folder) };
  }
}

function isFile(stats: BigIntStats): (target: FileTarget) => boolean {
  const device = stats.isBlockDevice() ? deviceName(stats.rdev) : undefined;
  const inode = inodeOf(stats);
  return (target) =>
    target.kind === 'device'
      ? target.device === device
      : device === undefined && sameInode(target.inode, inode);
}

/**
 * By what the path of the table leads to, for that process: a block device's node with the inode of the table, or the
 * file itself. A file on the very device of the table needs no path; another made-up device (major number 0) is as
 * good as none, for memory and tmpfs have small inode numbers as btrfs has.
 */
function isNamed(line: MapLine, folder: string): (target: FileTarget) => boolean {
  let stats: BigIntStats | undefined;
  try {
    if (line.path?.startsWith('/') === true) stats = statSync(`${folder}/root${line.path}`, { bigint: true });
  } catch {
    // Removed since, or not to be reached.
  }
  return (target) => {
    if (target.kind === 'inode' && line.dev === target.inode.dev) return true;
    if (stats === undefined || stats.ino.toString() !== line.ino) return false;
    return isFile(stats)(target);
  };
}

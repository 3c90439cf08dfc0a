/**
 * What a holder writes about itself for other hosts to read: its bytes, both ways.
 *
 * Whoever may write to the image may write such a record, so nothing in one is believed for its form: every field is
 * checked, and what is not as it has to be makes the whole record none. A guest cannot write one: it is no part of
 * the image's contents.
 */
import { printable } from '../../printable.js';
import { modes, unnamedCommand, type Mode, type Owner } from '../../vocabulary.js';

export interface HolderRecord {
  readonly version: 1;
  /** As the host calls itself. */
  readonly host: string;
  /** Its machine-id. */
  readonly hostId: string;
  /** Of the kernel that it runs: one for all containers of a host, another one for a host made from a copy of it. */
  readonly bootId: string;
  readonly kind: Owner['kind'];
  readonly name: string;
  readonly uuid: string;
  /** In the holder's own space of pids. */
  readonly pid: number;
  readonly startTime: number;
  readonly mode: Mode;
  /** ISO 8601, to the second, UTC. */
  readonly since: string;
  /** As the holder named the file; missing where it is too long. */
  readonly path?: string;
}

/** ext4 has some 4 KiB for all attributes of a file, and shared holders write one each. */
export const recordBytesMax = 1024;

/** In bytes of JSON, without the quotes; with all else at its longest these come to less than `recordBytesMax`. */
const nameBytesMax = 200;
const hostBytesMax = 80;
const pathBytesMax = 360;

/** Nothing that could be taken for words of ours. */
const hostPattern = /^[\w.-]+$/;
const hostIdPattern = /^[0-9a-f]{32}$/;
const uuidPattern = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const bootIdPattern = /^(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?$/;
const sincePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

const jsonBytes = (text: string): number => Buffer.byteLength(JSON.stringify(text)) - 2;

/** A name that is too long still tells something when it is cut; between code points, so that it stays text. */
function cut(text: string, bytesMax: number): string {
  if (jsonBytes(text) <= bytesMax) return text;
  const mark = '...';
  let kept = '';
  for (const point of text) {
    if (jsonBytes(kept + point) > bytesMax - mark.length) break;
    kept += point;
  }
  return kept + mark;
}

/** The record's bytes, at most `recordBytesMax`. */
export function formatRecord({ host, name, path, ...rest }: HolderRecord): Buffer {
  const record: HolderRecord = {
    ...rest,
    host: cut(host.replaceAll(/[^\w.-]/g, '-'), hostBytesMax),
    name: cut(name === '' ? unnamedCommand : name, nameBytesMax),
    // A path that is cut leads nowhere.
    ...(path === undefined || jsonBytes(path) > pathBytesMax ? {} : { path }),
  };
  return Buffer.from(JSON.stringify(record));
}

/** What a record says, fit to be shown; undefined: it is none. Fields that are not known are passed over. */
export function parseRecord(bytes: Buffer): HolderRecord | undefined {
  if (bytes.length > recordBytesMax) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, host, hostId, bootId, kind, name, uuid, pid, startTime, mode, since, path } =
    value as Record<string, unknown>;
  if (version !== 1 || (kind !== 'domain' && kind !== 'command')) return undefined;
  if (!isText(host, hostBytesMax) || !hostPattern.test(host) || !isText(name, nameBytesMax)) return undefined;
  if (!isLike(hostId, hostIdPattern) || !isLike(bootId, bootIdPattern)) return undefined;
  if (!isLike(uuid, uuidPattern) || !isLike(since, sincePattern) || Number.isNaN(Date.parse(since)))
    return undefined;
  if (!isNatural(pid) || !isNatural(startTime) || !isMode(mode)) return undefined;
  const named = isText(path, pathBytesMax) && path.startsWith('/') ? { path: printable(path) } : {};
  return {
    version,
    host,
    hostId,
    bootId,
    kind,
    name: printable(name),
    uuid,
    pid,
    startTime,
    mode,
    since,
    ...named,
  };
}

const isText = (value: unknown, bytesMax: number): value is string =>
  typeof value === 'string' && value !== '' && jsonBytes(value) <= bytesMax;

const isLike = (value: unknown, pattern: RegExp): value is string =>
  typeof value === 'string' && pattern.test(value);

const isNatural = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const isMode = (value: unknown): value is Mode => modes.some((mode) => mode === value);

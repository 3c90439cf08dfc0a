/**
 * The structs of libsanlock_client, as its public headers lay them out (sanlock.h, 3.8), in the machine's byte order.
 *
 * Names have up to 48 bytes and need no final 0; paths have a final 0 within 1,024.
 */
import { endianness } from 'node:os';

/** Bytes of the name of a lockspace or a lease (SANLK_NAME_LEN). */
export const nameBytesMax = 48;
/** Bytes of a path, its final 0 among them (SANLK_PATH_LEN). */
export const pathBytesMax = 1024;
/** What one call can take and what one process can hold (SANLK_MAX_RESOURCES). */
export const leasesMax = 8;

const diskBytes = pathBytesMax + 16;
const resourceHeadBytes = 128;
const lockspaceBytes = 64 + diskBytes;
const hostBytes = 32;
const optionsBytes = 56;

const resourceFlag = { lver: 1, shared: 4 } as const;
/** SANLK_RES_ALIGN1M to ALIGN8M, and SECTOR512 and SECTOR4K. */
const alignments: Readonly<Record<number, number>> = { 0x10: 1, 0x20: 2, 0x40: 4, 0x80: 8 };
const sectors: Readonly<Record<number, number>> = { 0x100: 512, 0x200: 4096 };

/** Where a lease is: a file or block device, and bytes from its start. */
export interface LeasePlace {
  readonly path: string;
  readonly offset: number;
}

/** A lease on a resource. Names empty: whatever is there. */
export interface SanlockResource {
  readonly lockspace: string;
  readonly name: string;
  readonly disks: readonly LeasePlace[];
  readonly shared?: boolean;
  /** Its version. In a request: it must be this one. */
  readonly lver?: bigint;
}

/** What was read of a lease's area. */
export interface SanlockArea extends SanlockResource {
  readonly lver: bigint;
  /** 1, 2, 4 or 8: how much a lease takes there. Missing: sanlock did not say. */
  readonly alignMib?: number;
  readonly sectorBytes?: number;
}

export interface SanlockLockspace extends LeasePlace {
  readonly name: string;
  /** 1 to 2,000; 0 where it does not matter. */
  readonly hostId: number;
}

/** A lockspace that the daemon has. `adding` and `removing`: it is not joined. */
export interface JoinedLockspace extends SanlockLockspace {
  readonly state: 'joined' | 'adding' | 'removing';
}

/** As SANLK_HOST_UNKNOWN, FREE, LIVE, FAIL and DEAD. */
export type HostState = 'unknown' | 'free' | 'live' | 'fail' | 'dead';
const hostStates: readonly (HostState | undefined)[] = [undefined, 'unknown', 'free', 'live', 'fail', 'dead'];

export interface SanlockHost {
  readonly hostId: number;
  readonly generation: bigint;
  /** Seconds, of that host's own clock, which began at its boot. */
  readonly timestamp: bigint;
  /** Seconds that it allows one I/O. */
  readonly ioTimeoutS: number;
  /** Missing: not said (an owner as the lease's area has it). */
  readonly state?: HostState;
}

const little = endianness() === 'LE';

function u32(buffer: Buffer, offset: number, value: number): void {
  if (little) buffer.writeUInt32LE(value, offset);
  else buffer.writeUInt32BE(value, offset);
}

function u64(buffer: Buffer, offset: number, value: bigint): void {
  if (little) buffer.writeBigUInt64LE(value, offset);
  else buffer.writeBigUInt64BE(value, offset);
}

/** A number of the machine's, 32 bits. */
export function readU32(buffer: Buffer, offset: number): number {
  return little ? buffer.readUInt32LE(offset) : buffer.readUInt32BE(offset);
}

/** A number or address of the machine's, 64 bits. */
export function readU64(buffer: Buffer, offset: number): bigint {
  return little ? buffer.readBigUInt64LE(offset) : buffer.readBigUInt64BE(offset);
}

function text(buffer: Buffer, offset: number, bytes: number): string {
  const field = buffer.subarray(offset, offset + bytes);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end === -1 ? bytes : end);
}

/** @throws RangeError if it does not fit: cut short it would be another name */
function writeText(buffer: Buffer, offset: number, bytes: number, value: string, what: string): void {
  const encoded = Buffer.from(value);
  if (encoded.length > bytes || encoded.includes(0)) {
    throw new RangeError(`${what} has more than ${bytes} bytes, or a zero byte: ${value}`);
  }
  encoded.copy(buffer, offset);
}

function writeDisk(buffer: Buffer, offset: number, { path, offset: at }: LeasePlace): void {
  writeText(buffer, offset, pathBytesMax - 1, path, "a lease's path");
  u64(buffer, offset + pathBytesMax, BigInt(at));
}

function readDisk(buffer: Buffer, offset: number): LeasePlace {
  return {
    path: text(buffer, offset, pathBytesMax),
    offset: Number(readU64(buffer, offset + pathBytesMax)),
  };
}

/** struct sanlk_resource with its disks. Throws `RangeError` if a name or a path is too long. */
export function encodeResource(resource: SanlockResource): Buffer {
  const { lockspace, name, disks, shared = false, lver } = resource;
  const buffer = Buffer.alloc(resourceHeadBytes + disks.length * diskBytes);
  writeText(buffer, 0, nameBytesMax, lockspace, "a lockspace's name");
  writeText(buffer, nameBytesMax, nameBytesMax, name, "a lease's name");
  u64(buffer, 96, lver ?? 0n);
  u32(buffer, 120, (lver === undefined ? 0 : resourceFlag.lver) | (shared ? resourceFlag.shared : 0));
  u32(buffer, 124, disks.length);
  disks.forEach((disk, index) => writeDisk(buffer, resourceHeadBytes + index * diskBytes, disk));
  return buffer;
}

/** A struct that the library has filled, its disks as they were. */
export function decodeResource(buffer: Buffer): SanlockArea {
  const flags = readU32(buffer, 120);
  const alignMib = alignments[flags & 0xf0];
  const sectorBytes = sectors[flags & 0x300];
  return {
    lockspace: text(buffer, 0, nameBytesMax),
    name: text(buffer, nameBytesMax, nameBytesMax),
    disks: Array.from({ length: readU32(buffer, 124) }, (_, index) =>
      readDisk(buffer, resourceHeadBytes + index * diskBytes),
    ),
    shared: (flags & resourceFlag.shared) !== 0,
    lver: readU64(buffer, 96),
    ...(alignMib === undefined ? {} : { alignMib }),
    ...(sectorBytes === undefined ? {} : { sectorBytes }),
  };
}

/** How long a struct sanlk_resource is, by the first bytes of it. */
export function resourceBytes(head: Buffer): number {
  return resourceHeadBytes + readU32(head, 124) * diskBytes;
}
export { hostBytes, lockspaceBytes, resourceHeadBytes };

/** struct sanlk_lockspace. Throws `RangeError` if the name or the path is too long. */
export function encodeLockspace(lockspace: SanlockLockspace): Buffer {
  const buffer = Buffer.alloc(lockspaceBytes);
  writeText(buffer, 0, nameBytesMax, lockspace.name, "a lockspace's name");
  u64(buffer, 48, BigInt(lockspace.hostId));
  writeDisk(buffer, 64, lockspace);
  return buffer;
}

export function decodeLockspace(buffer: Buffer): JoinedLockspace {
  const flags = readU32(buffer, 56);
  return {
    name: text(buffer, 0, nameBytesMax),
    hostId: Number(readU64(buffer, 48)),
    ...readDisk(buffer, 64),
    state: (flags & 1) !== 0 ? 'adding' : (flags & 2) !== 0 ? 'removing' : 'joined',
  };
}

/** struct sanlk_host. */
export function decodeHost(buffer: Buffer): SanlockHost {
  const state = hostStates[readU32(buffer, 28) & 0xf];
  return {
    hostId: Number(readU64(buffer, 0)),
    generation: readU64(buffer, 8),
    timestamp: readU64(buffer, 16),
    ioTimeoutS: readU32(buffer, 24),
    ...(state === undefined ? {} : { state }),
  };
}

/** struct sanlk_options: what the daemon calls the owner in its log and its status; cut to what fits. */
export function encodeOptions(ownerName: string): Buffer {
  const buffer = Buffer.alloc(optionsBytes);
  Buffer.from(ownerName.replaceAll(/[^\x21-\x7e]/g, '_')).copy(buffer, 0, 0, nameBytesMax - 1);
  return buffer;
}

/**
 * sanlock's own client library, `libsanlock_client.so.1`, called without its headers.
 *
 * It finds the daemon as it always does: at /run/sanlock, or where SANLOCK_RUN_DIR says, which it reads at its first use.
 * Whoever has registered calls with that descriptor one after another. What may have to wait for storage is called on a
 * thread of the pool. Every function throws `SanlockError` for what the library or the daemon refuses, and
 * `HoldfastError` (`DRIVER_FAILED`) if the library is not there.
 */
import { HoldfastError } from '../../errors.js';
import { libcAddress, libcView } from '../../system/libc.js';
import { freeMemory, NativeLibrary } from '../../system/native-library.js';
import {
  decodeHost,
  decodeLockspace,
  decodeResource,
  encodeLockspace,
  encodeOptions,
  encodeResource,
  hostBytes,
  lockspaceBytes,
  readU32,
  readU64,
  resourceBytes,
  resourceHeadBytes,
  type JoinedLockspace,
  type LeasePlace,
  type SanlockArea,
  type SanlockHost,
  type SanlockLockspace,
  type SanlockResource,
} from './client-structs.js';
import { SanlockError } from './sanlock-error.js';

/** The memory file by which a process is told of a loss. */
export const noticeName = 'holdfast-sanlock';

const file = 'libsanlock_client.so.1';
const library = new NativeLibrary(file);

const native = {
  register: library.function<[]>('int sanlock_register(void)'),
  killpath: library.function<[number, number, string, string]>(
    'int sanlock_killpath(int sock, uint32_t flags, const char *path, const char *args)',
  ),
  acquire: library.function<[number, number, number, number, Buffer, Buffer]>(
    'int sanlock_acquire(int sock, int pid, uint32_t flags, int res_count, void *res_args, void *options)',
  ),
  release: library.function<[number, number, number, number, Buffer]>(
    'int sanlock_release(int sock, int pid, uint32_t flags, int res_count, void *res_args)',
  ),
  inquire: library.function<[number, number, number, Buffer, Buffer]>(
    'int sanlock_inquire(int sock, int pid, uint32_t flags, void *res_count, void *res_state)',
  ),
  convert: library.function<[number, number, number, Buffer]>(
    'int sanlock_convert(int sock, int pid, uint32_t flags, void *res)',
  ),
  stateToArgs: library.function<[string, Buffer, Buffer]>(
    'int sanlock_state_to_args(const char *res_state, void *res_count, void *res_args)',
  ),
  addLockspace: library.function<[Buffer, number, number]>(
    'int sanlock_add_lockspace_timeout(void *ls, uint32_t flags, uint32_t io_timeout)',
  ),
  inqLockspace: library.function<[Buffer, number]>('int sanlock_inq_lockspace(void *ls, uint32_t flags)'),
  remLockspace: library.function<[Buffer, number]>('int sanlock_rem_lockspace(void *ls, uint32_t flags)'),
  getLockspaces: library.function<[Buffer, Buffer, number]>(
    'int sanlock_get_lockspaces(void *lss, void *lss_count, uint32_t flags)',
  ),
  getHosts: library.function<[string, number, Buffer, Buffer, number]>(
    'int sanlock_get_hosts(const char *ls_name, uint64_t host_id, void *hss, void *hss_count, uint32_t flags)',
  ),
  align: library.function<[Buffer]>('int sanlock_align(void *disk)'),
  writeLockspace: library.function<[Buffer, number, number, number]>(
    'int sanlock_write_lockspace(void *ls, int max_hosts, uint32_t flags, uint32_t io_timeout)',
  ),
  readLockspace: library.function<[Buffer, number, Buffer]>(
    'int sanlock_read_lockspace(void *ls, uint32_t flags, void *io_timeout)',
  ),
  writeResource: library.function<[Buffer, number, number, number]>(
    'int sanlock_write_resource(void *res, int max_hosts, int num_hosts, uint32_t flags)',
  ),
  readResource: library.function<[Buffer, number]>('int sanlock_read_resource(void *res, uint32_t flags)'),
  readResourceOwners: library.function<[Buffer, number, Buffer, Buffer]>(
    'int sanlock_read_resource_owners(void *res, uint32_t flags, void *hss, void *hss_count)',
  ),
  version: library.function<[number, Buffer, Buffer]>(
    'int sanlock_version(uint32_t flags, void *version, void *proto)',
  ),
};

/** Each lease has at most 4,400 bytes in it (SANLK_MAX_RES_STR). */
const stateBytesMax = 1024 * 1024;
/** Another process than the one that registered: what is asked of the daemon by its pid. */
const noSocket = -1;

async function done(call: string, work: () => number | Promise<number>): Promise<number> {
  const result = await loading(work);
  if (result < 0) throw new SanlockError(call, result);
  return result;
}

function loading<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (cause) {
    throw new HoldfastError('DRIVER_FAILED', `sanlock's client library ${file} cannot be used`, {
      cause,
      remedy: 'Install it: apt install libsanlock-client1 sanlock (Fedora: dnf install sanlock sanlock-lib).',
    });
  }
}

/** What an array of pointers points to lives as long as the array. */
const pointedTo = new WeakMap<Buffer, readonly Buffer[]>();

function pointers(structs: readonly Buffer[]): Buffer {
  const array = Buffer.alloc(8 * Math.max(structs.length, 1));
  pointedTo.set(array, structs);
  const words = new BigUint64Array(array.buffer, array.byteOffset, structs.length);
  structs.forEach((struct, index) => (words[index] = libcAddress(struct)));
  return array;
}

/** Memory that the library has allocated, read and given back. */
function taken<Item>(pointer: Buffer, count: number, bytes: number, decode: (item: Buffer) => Item): Item[] {
  const address = readU64(pointer, 0);
  if (address === 0n) return [];
  try {
    const all = libcView(address, count * bytes);
    return Array.from({ length: count }, (_, index) =>
      decode(Buffer.from(all.subarray(index * bytes, (index + 1) * bytes))),
    );
  } finally {
    freeMemory(address);
  }
}

/**
 * Ties this process to the daemon: while the connection is open its leases are kept, and the daemon ends this pid if it
 * cannot renew. Gives the descriptor, which whoever is executed has to inherit.
 */
export function register(): number {
  const result = loading(() => native.register());
  if (result < 0) throw new SanlockError('register', result);
  return result;
}

/** What the daemon runs instead of SIGTERM; `withPid`: the pid is its last argument. 126 bytes each: the rest is cut off. */
export async function killpath(socket: number, path: string, args: string, withPid: boolean): Promise<void> {
  await done('killpath', () => native.killpath.later(socket, withPid ? 1 : 0, path, args));
}

export interface AcquireFlags {
  /** An owner that is dead, or might be, is not waited for (up to 210 s): `SANLK_ACQUIRE_OWNED_RETRY`. */
  readonly noWait?: boolean;
}

/** Takes up to 8 leases for who has registered `socket`. */
export async function acquireLeases(
  socket: number,
  resources: readonly SanlockResource[],
  ownerName: string,
  { noWait = false }: AcquireFlags = {},
): Promise<void> {
  const structs = resources.map(encodeResource);
  const flags = noWait ? 8 : 0;
  const options = encodeOptions(ownerName);
  await done('acquire', () =>
    native.acquire.later(socket, -1, flags, structs.length, pointers(structs), options),
  );
}

/** Gives leases back. */
export async function releaseLeases(socket: number, resources: readonly SanlockResource[]): Promise<void> {
  const structs = resources.map(encodeResource);
  await done('release', () => native.release.later(socket, -1, 0, structs.length, pointers(structs)));
}

/** Gives back all that `socket` holds. */
export async function releaseAllLeases(socket: number): Promise<void> {
  await done('release', () => native.release.later(socket, -1, 1, 0, pointers([])));
}

/** Gives back all that a process holds, whoever has its connection: of the first one that it has registered. */
export async function releaseAllOf(pid: number): Promise<void> {
  await done('release', () => native.release.later(noSocket, pid, 1, 0, pointers([])));
}

/** What the connection, or the pid, holds: sanlock's own string, as another host takes it. Empty: nothing. */
export async function inquire(of: { readonly socket: number } | { readonly pid: number }): Promise<string> {
  const count = Buffer.alloc(8);
  const state = Buffer.alloc(8);
  const [socket, pid] = 'socket' in of ? [of.socket, -1] : [noSocket, of.pid];
  await done('inquire', () => native.inquire.later(socket, pid, 0, count, state));
  const address = readU64(state, 0);
  if (address === 0n) return '';
  try {
    return textAt(address);
  } finally {
    freeMemory(address);
  }
}

function textAt(address: bigint): string {
  // Byte by byte, since beyond the end there may be no memory.
  const bytes: number[] = [];
  for (let index = 0n; bytes.length < stateBytesMax; index++) {
    const [byte = 0] = libcView(address + index, 1);
    if (byte === 0) break;
    bytes.push(byte);
  }
  return Buffer.from(bytes).toString();
}

/** What a string of `inquire` says. */
export function parseState(state: string): readonly SanlockResource[] {
  const count = Buffer.alloc(8);
  const array = Buffer.alloc(8);
  const result = loading(() => native.stateToArgs(state, count, array));
  if (result < 0) throw new SanlockError('state_to_args', result);
  const address = readU64(array, 0);
  if (address === 0n) return [];
  try {
    return Array.from({ length: readU32(count, 0) }, (_, index) => {
      const each = readU64(libcView(address + BigInt(index * 8), 8), 0);
      const bytes = resourceBytes(libcView(each, resourceHeadBytes));
      const resource = decodeResource(Buffer.from(libcView(each, bytes)));
      freeMemory(each);
      return resource;
    });
  } finally {
    freeMemory(address);
  }
}

/** Makes a lease shared, or exclusive, as `resource.shared` says. */
export async function convertLease(
  socket: number,
  resource: SanlockResource,
  noWait: boolean,
): Promise<void> {
  const struct = encodeResource(resource);
  await done('convert', () => native.convert.later(socket, -1, noWait ? 8 : 0, struct));
}

/** Begins to join a lockspace and does not wait. `ioTimeoutS` 0: the daemon's own. */
export async function addLockspace(lockspace: SanlockLockspace, ioTimeoutS = 0): Promise<void> {
  const struct = encodeLockspace(lockspace);
  await done('add_lockspace', () => native.addLockspace.later(struct, 1, ioTimeoutS));
}

/** Whether this host has joined it. `adding`: not yet. */
export async function lockspaceState(
  lockspace: SanlockLockspace,
): Promise<'joined' | 'adding' | 'removing' | 'none'> {
  const joined = (await joinedLockspaces()).find(({ name }) => name === lockspace.name);
  return joined?.state ?? 'none';
}

/** Asks the daemon as `sanlock client inq_lockspace` does. Throws `SanlockError` (ENOENT, EINPROGRESS) unless it is joined. */
export async function inquireLockspace(lockspace: SanlockLockspace): Promise<void> {
  const struct = encodeLockspace(lockspace);
  await done('inq_lockspace', () => native.inqLockspace.later(struct, 0));
}

/** Leaves a lockspace. `unused`: only if nothing uses it (else `EBUSY`); otherwise the daemon kills all that do. */
export async function removeLockspace(lockspace: SanlockLockspace, unused = true): Promise<void> {
  const struct = encodeLockspace(lockspace);
  await done('rem_lockspace', () => native.remLockspace.later(struct, unused ? 2 : 0));
}

/** The lockspaces that the daemon has. */
export async function joinedLockspaces(): Promise<readonly JoinedLockspace[]> {
  const pointer = Buffer.alloc(8);
  const count = Buffer.alloc(8);
  await done('get_lockspaces', () => native.getLockspaces.later(pointer, count, 0));
  return taken(pointer, readU32(count, 0), lockspaceBytes, decodeLockspace);
}

/** The hosts of a lockspace that was joined, or the one with a host id. */
export async function hostsOf(lockspace: string, hostId = 0): Promise<readonly SanlockHost[]> {
  const pointer = Buffer.alloc(8);
  const count = Buffer.alloc(8);
  await done('get_hosts', () => native.getHosts.later(lockspace, hostId, pointer, count, 0));
  return taken(pointer, readU32(count, 0), hostBytes, decodeHost);
}

/** How many bytes a lockspace or a lease takes on a disk or file by default. */
export async function alignBytes({ path }: LeasePlace): Promise<number> {
  const struct = encodeResource({ lockspace: '', name: '', disks: [{ path, offset: 0 }] });
  return await done('align', () => native.align.later(Buffer.from(struct.subarray(resourceHeadBytes))));
}

/** Makes a lockspace. `ioTimeoutS` 0: the daemon's own. */
export async function writeLockspace(lockspace: SanlockLockspace, ioTimeoutS = 0): Promise<void> {
  const struct = encodeLockspace(lockspace);
  await done('write_lockspace', () => native.writeLockspace.later(struct, 0, 0, ioTimeoutS));
}

/** What is at a host's place of a lockspace (`hostId` 0: the first): its name, and the seconds of its I/O timeout. */
export async function readLockspace(
  lockspace: SanlockLockspace,
): Promise<SanlockLockspace & { readonly ioTimeoutS: number }> {
  const struct = encodeLockspace(lockspace);
  const timeout = Buffer.alloc(8);
  await done('read_lockspace', () => native.readLockspace.later(struct, 0, timeout));
  const { name, hostId, path, offset } = decodeLockspace(struct);
  return { name, hostId, path, offset, ioTimeoutS: readU32(timeout, 0) };
}

/** Makes a lease that nobody holds; whoever held it is forgotten. */
export async function writeResource(resource: SanlockResource): Promise<void> {
  const struct = encodeResource(resource);
  await done('write_resource', () => native.writeResource.later(struct, 0, 0, 0));
}

/** What is at a lease's place. Names that are given have to be those that stand there. */
export async function readResource(resource: SanlockResource): Promise<SanlockArea> {
  const struct = encodeResource(resource);
  await done('read_resource', () => native.readResource.later(struct, 0));
  return decodeResource(struct);
}

/** The same, and who owns it, as its area says: whether they live is another question (`hostsOf`). */
export async function readOwners(
  resource: SanlockResource,
): Promise<{ readonly area: SanlockArea; readonly owners: readonly SanlockHost[] }> {
  const struct = encodeResource(resource);
  const pointer = Buffer.alloc(8);
  const count = Buffer.alloc(8);
  await done('read_resource_owners', () => native.readResourceOwners.later(struct, 0, pointer, count));
  return { area: decodeResource(struct), owners: taken(pointer, readU32(count, 0), hostBytes, decodeHost) };
}

/** The daemon's version (`3.8.5`). */
export async function daemonVersion(): Promise<string> {
  const version = Buffer.alloc(8);
  await done('version', () => native.version.later(0, version, Buffer.alloc(8)));
  const number = readU32(version, 0);
  return [24, 16, 8].map((shift) => (number >>> shift) & 0xff).join('.');
}

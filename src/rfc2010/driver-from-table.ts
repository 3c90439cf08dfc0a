/**
 * The driver's side: a table of 2010 as a driver of Holdfast.
 *
 * A table knows disks by name and tells no more than that a call failed. So a failed `acquire_resource` or
 * `startup_drv` is taken for a disk in use, and nobody outside this process can be named as its holder.
 */
import { HoldfastError } from '../index.js';
import type {
  Driver,
  DriverAbout,
  DriverFactory,
  Grant,
  Holder,
  LockRequest,
  Mode,
  Owner,
  Resource,
} from '../index.js';
import {
  LIBVIRT_LOCK_VERSION,
  VIR_LOCK_MANAGER_NEW_ATTACH,
  VIR_LOCK_MANAGER_OBJECT_TYPE_DOMAIN,
  VIR_LOCK_MANAGER_RESOURCE_READONLY,
  VIR_LOCK_MANAGER_RESOURCE_SHARED,
  VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK,
} from './lock-manager-table.js';
import type { LockManagerTable } from './lock-manager-table.js';
import { requireTable } from './require-table.js';

export interface TableOptions {
  /** The driver's name: lower-case letters, digits and dashes. */
  readonly name: string;
  /** What the table's author knows of it; without it: reach `host`, no guarantee, and Holdfast stays beside the command. */
  readonly about?: Partial<Omit<DriverAbout, 'name' | 'modes'>>;
  /**
   * The name by which the table is given a resource; undefined: it cannot lock that one. By default a disk's
   * real path, and nothing for what has none: then hard links and hosts with other mount points have other
   * names. `({ identity }) => identity` suits a table that takes any string.
   */
  readonly nameOf?: (resource: Resource) => string | undefined;
}

interface Started<Handle> {
  readonly handle: Handle;
  readonly owner: Owner;
  readonly requests: readonly LockRequest[];
}

/**
 * Makes a driver of a table. What it can do is what callbacks it has: `extend` and `shrink` with
 * `release_resource`, `adopt` with `attach_drv`.
 *
 * @throws HoldfastError DRIVER_BROKEN if the table is too old, or lacks a callback: which, and what to do
 */
export function driverFromTable<Handle>(
  table: LockManagerTable<Handle>,
  { name, about = {}, nameOf = ({ realPath, path }) => realPath ?? path }: TableOptions,
): DriverFactory {
  requireTable(table, name);
  return {
    about: {
      reach: 'host',
      guarantees: [],
      doesNotGuarantee: [
        'more than the table itself does: the proposal of 2010 asks for no more than success or failure',
        'that a holder outside this process can be named',
      ],
      supervise: true,
      ...about,
      name,
      modes: ['exclusive', 'shared', 'read'],
    },
    async start() {
      await succeed(table.load_drv(LIBVIRT_LOCK_VERSION, table.flags), {
        code: 'DRIVER_FAILED',
        message: `driver ${name}: load_drv refused version ${LIBVIRT_LOCK_VERSION} with flags ${table.flags}, its own`,
        remedy: 'Ask the author of the table what it needs.',
      });
      return startedTable(table, name, nameOf);
    },
  };
}

function startedTable<Handle>(
  table: LockManagerTable<Handle>,
  name: string,
  nameOf: (resource: Resource) => string | undefined,
): Driver {
  const started = new Map<Grant, Started<Handle>>();

  const grantOf = (state: Started<Handle>): Grant => {
    const grant = { requests: state.requests, descriptors: [], tokens: {} };
    started.set(grant, state);
    return grant;
  };
  const stateOf = (grant: Grant): Started<Handle> => {
    const state = started.get(grant);
    if (state === undefined) throw new HoldfastError('ENDED', 'The grant was released already');
    return state;
  };
  const open = async (owner: Owner, flags: number): Promise<Handle> => {
    const handle = await table.new_drv(VIR_LOCK_MANAGER_OBJECT_TYPE_DOMAIN, flags);
    if (hasFailed(handle) || handle === undefined) {
      throw new HoldfastError('DRIVER_FAILED', `driver ${name}: new_drv gave nothing`);
    }
    const values = { id: String(owner.id ?? -1), uuid: owner.uuid, name: owner.name };
    try {
      for (const [key, value] of Object.entries(values)) {
        await succeed(table.set_parameter_drv(handle as Handle, key, value), {
          code: 'DRIVER_FAILED',
          message: `driver ${name}: set_parameter_drv refused ${key} = ${value}`,
        });
      }
    } catch (error) {
      await close(handle as Handle).catch(() => undefined); // The first error is the one that matters.
      throw error;
    }
    return handle as Handle;
  };
  const take = async (handle: Handle, request: LockRequest): Promise<void> => {
    const disk = nameOf(request.resource);
    // The guest itself is the object that `new_drv` made.
    if (disk === undefined && request.resource.kind === 'domain') return;
    await succeed(
      table.acquire_resource(handle, VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK, disk ?? '', flagsOf(request.mode)),
      refused([request]),
    );
  };
  const giveBack = async (handle: Handle, { resource, mode }: LockRequest): Promise<void> => {
    const disk = nameOf(resource);
    if (disk === undefined) return;
    const type = VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK;
    await succeed(table.release_resource?.(handle, type, disk, flagsOf(mode)), {
      code: 'DRIVER_FAILED',
      message: `driver ${name}: release_resource failed for ${resource.label}`,
    });
  };
  const close = async (handle: Handle): Promise<void> => {
    try {
      await succeed(table.shutdown_drv(handle), {
        code: 'DRIVER_FAILED',
        message: `driver ${name}: shutdown_drv failed`,
      });
    } finally {
      await table.free_drv?.(handle);
    }
  };
  const begin = async (
    owner: Owner,
    requests: readonly LockRequest[],
    flags: number,
    run: (handle: Handle) => Promise<void>,
  ): Promise<Grant> => {
    const handle = await open(owner, flags);
    try {
      for (const request of requests) await take(handle, request);
      await run(handle);
    } catch (error) {
      // The first error is the one that says why; a table that cannot even close has no better one.
      await close(handle).catch(() => undefined);
      throw error;
    }
    return grantOf({ handle, owner, requests });
  };

  return {
    async acquire(owner, requests, { signal }) {
      signal.throwIfAborted();
      return begin(owner, requests, 0, (handle) => succeed(table.startup_drv(handle), refused(requests)));
    },
    async release(grant) {
      const state = started.get(grant);
      if (state === undefined) return;
      started.delete(grant);
      await close(state.handle);
    },
    async holders({ identity }) {
      return [...started.values()]
        .filter(({ requests }) => requests.some(({ resource }) => resource.identity === identity))
        .map((state) => holderOf(state, identity, name));
    },
    mapRequest: ({ resource, mode }) => {
      if (nameOf(resource) === undefined && resource.kind !== 'domain') {
        return { can: false, reason: 'a table of 2010 locks disks by their path, and this has none' };
      }
      if (mode !== 'part') return { can: true, mode };
      return { can: true, mode: 'exclusive', note: 'a table of 2010 has no mode `part`: locked exclusively' };
    },
    ...(table.release_resource === undefined
      ? {}
      : {
          async extend(grant, _owner, requests, { signal }) {
            const { handle } = stateOf(grant);
            signal.throwIfAborted();
            const taken: LockRequest[] = [];
            try {
              for (const request of requests) {
                await take(handle, request);
                taken.push(request);
              }
            } catch (error) {
              for (const request of taken) await giveBack(handle, request);
              throw error;
            }
            return replace(grant, [...grant.requests, ...requests]);
          },
          async shrink(grant, identities) {
            const { handle } = stateOf(grant);
            const goes = ({ resource }: LockRequest): boolean => identities.includes(resource.identity);
            for (const request of grant.requests.filter(goes)) await giveBack(handle, request);
            return replace(
              grant,
              grant.requests.filter((request) => !goes(request)),
            );
          },
        }),
    ...(table.attach_drv === undefined
      ? {}
      : {
          adopt: (owner, requests) =>
            begin(owner, requests, VIR_LOCK_MANAGER_NEW_ATTACH, (handle) =>
              succeed(table.attach_drv?.(handle), {
                code: 'LOST',
                message: `driver ${name}: attach_drv found no running guest ${owner.name}`,
              }),
            ),
        }),
    async end() {
      // -1 says that it wants to stay loaded (the proposal's comment on unload_drv): nothing here unloads a module.
      await table.unload_drv();
    },
  } satisfies Driver;

  function replace(grant: Grant, requests: readonly LockRequest[]): Grant {
    const state = stateOf(grant);
    started.delete(grant);
    return grantOf({ ...state, requests });
  }
}

function flagsOf(mode: Mode): number {
  if (mode === 'read') return VIR_LOCK_MANAGER_RESOURCE_READONLY;
  return mode === 'shared' ? VIR_LOCK_MANAGER_RESOURCE_SHARED : 0;
}

interface Failure {
  readonly code: 'IN_USE' | 'DRIVER_FAILED' | 'LOST';
  readonly message: string;
  readonly remedy?: string;
  readonly resource?: string;
}

function refused(requests: readonly LockRequest[]): Failure {
  const labels = requests.map(({ resource }) => resource.label);
  const message = `${labels.join(', ')} could not be locked: in use`;
  // A table says that it failed, not for which of them.
  return { code: 'IN_USE', message, ...(labels[0] === undefined ? {} : { resource: labels[0] }) };
}

function hasFailed(result: unknown): boolean {
  return result === null || result === false || (typeof result === 'number' && result < 0);
}

async function succeed(call: unknown, { code, message, ...details }: Failure): Promise<void> {
  if (hasFailed(await call)) throw new HoldfastError(code, message, details);
}

function holderOf<Handle>({ owner, requests }: Started<Handle>, identity: string, name: string): Holder {
  const mode = requests.find(({ resource }) => resource.identity === identity)?.mode;
  return {
    ...(owner.kind === 'domain' ? { guest: owner.name } : { program: owner.name }),
    uuid: owner.uuid,
    pid: owner.pid,
    startTime: owner.startTime,
    host: owner.host,
    ...(mode === undefined ? {} : { mode }),
    through: [`Holdfast, driver ${name}`],
    evidence: [],
  };
}

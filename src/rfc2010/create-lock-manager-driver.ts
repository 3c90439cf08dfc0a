/** The caller's side: a table of 2010 over any driver of Holdfast. */
import { HoldfastError, openManager } from '../index.js';
import type { DriverFactory, Manager, ManagerOptions } from '../index.js';
import {
  LIBVIRT_LOCK_VERSION,
  VIR_LOCK_MANAGER_DRIVER_HOTPLUG,
  VIR_LOCK_MANAGER_DRIVER_MIGRATE,
  VIR_LOCK_MANAGER_DRIVER_RESOURCES,
  VIR_LOCK_MANAGER_NEW_ATTACH,
  VIR_LOCK_MANAGER_NEW_MIGRATE,
  VIR_LOCK_MANAGER_OBJECT_TYPE_DOMAIN,
} from './lock-manager-table.js';
import type { LockManagerTable } from './lock-manager-table.js';
import { ManagedGuest } from './managed-guest.js';

/** What `createLockManagerDriver` gives: every callback is there, and what C tells by -1 or NULL is thrown. */
export interface LockManagerDriver extends LockManagerTable<ManagedGuest> {
  load_drv(version: number, flags: number): Promise<void>;
  unload_drv(): Promise<void>;
  new_drv(type: number, flags: number): Promise<ManagedGuest>;
  set_parameter_drv(guest: ManagedGuest, key: string, value: string | number): Promise<void>;
  acquire_resource(guest: ManagedGuest, type: number, name: string, flags: number): Promise<void>;
  startup_drv(guest: ManagedGuest): Promise<void>;
  shutdown_drv(guest: ManagedGuest): Promise<void>;
  free_drv(guest: ManagedGuest): Promise<void>;
  attach_drv(guest: ManagedGuest): Promise<void>;
  release_resource(guest: ManagedGuest, type: number, name: string, flags: number): Promise<void>;
  prepare_migrate_drv(guest: ManagedGuest, hostUri: string): Promise<void>;
  complete_migrate_out_drv(guest: ManagedGuest, flags: number): Promise<void>;
  complete_migrate_in_drv(guest: ManagedGuest, flags: number): Promise<void>;
}

const implemented =
  VIR_LOCK_MANAGER_DRIVER_RESOURCES | VIR_LOCK_MANAGER_DRIVER_MIGRATE | VIR_LOCK_MANAGER_DRIVER_HOTPLUG;

/**
 * A table of callbacks of the 2010 shape over a driver of Holdfast, or over several in order. Disks are
 * planned as for every other caller: identity, overlap and overlays' base images count.
 *
 * `load_drv` and `unload_drv` may be called, and need not: the driver starts when the first guest does.
 *
 * @throws every call HoldfastError: USAGE for calls out of order, UNSUPPORTED from `load_drv` for a version or
 *   flags that are not there, IN_USE with the holders from `startup_drv` and `acquire_resource`
 */
export function createLockManagerDriver(
  driver?: string | DriverFactory | readonly (string | DriverFactory)[],
  options: Omit<ManagerOptions, 'driver'> = {},
): LockManagerDriver {
  let manager: Manager | undefined;
  /** A table may be loaded several times; it is unloaded with the last. */
  let loads = 0;
  const guests = new Set<ManagedGuest>();
  const open = (): Manager =>
    (manager ??= openManager({ ...options, ...(driver === undefined ? {} : { driver }) }));

  return {
    version: LIBVIRT_LOCK_VERSION,
    flags: implemented,
    async load_drv(version, flags) {
      if (version > LIBVIRT_LOCK_VERSION || version < 1) {
        throw new HoldfastError('UNSUPPORTED', `load_drv: there is no version ${version} of the table`, {
          remedy: `Ask for version ${LIBVIRT_LOCK_VERSION}, the only one there is.`,
        });
      }
      if ((flags & ~implemented) !== 0) {
        throw new HoldfastError('UNSUPPORTED', `load_drv: flags ${flags} ask for more than there is`, {
          remedy: `Ask for RESOURCES (1), MIGRATE (2) and HOTPLUG (4), or any of them.`,
        });
      }
      loads++;
      open();
    },
    async unload_drv() {
      if (loads > 1) {
        loads--;
        return;
      }
      const running = [...guests].filter((guest) => !guest.ended).length;
      if (running > 0) {
        throw new HoldfastError('USAGE', `unload_drv: ${running} guests were not shut down`, {
          remedy: 'Call shutdown_drv for each first.',
        });
      }
      guests.clear();
      loads = 0;
      const closing = manager;
      manager = undefined;
      await closing?.close();
    },
    async new_drv(type, flags) {
      if (type !== VIR_LOCK_MANAGER_OBJECT_TYPE_DOMAIN) {
        throw new HoldfastError('USAGE', `new_drv: ${type} is no type of object`, {
          remedy: 'The proposal has one type: VIR_LOCK_MANAGER_OBJECT_TYPE_DOMAIN.',
        });
      }
      const guest = new ManagedGuest(open(), arrivalOf(flags));
      guests.add(guest);
      return guest;
    },
    async free_drv(guest) {
      await guest.shutdown();
      guests.delete(guest);
    },
    set_parameter_drv: (guest, key, value) => guest.setParameter(key, value),
    acquire_resource: (guest, type, name, flags) => guest.acquireResource(type, name, flags),
    release_resource: (guest, _type, name) => guest.releaseResource(name),
    startup_drv: (guest) => guest.startup(),
    attach_drv: (guest) => guest.attach(),
    shutdown_drv: (guest) => guest.shutdown(),
    prepare_migrate_drv: (guest) => guest.prepareMigrate(),
    complete_migrate_out_drv: (guest, flags) => guest.completeMigrateOut(flags),
    complete_migrate_in_drv: (guest, flags) => guest.completeMigrateIn(flags),
  };
}

function arrivalOf(flags: number): 'start' | 'migrate' | 'attach' {
  switch (flags) {
    case 0:
      return 'start';
    case VIR_LOCK_MANAGER_NEW_MIGRATE:
      return 'migrate';
    case VIR_LOCK_MANAGER_NEW_ATTACH:
      return 'attach';
    default:
      throw new HoldfastError('USAGE', `new_drv: unknown flags (${flags})`, {
        remedy: 'Give 0, VIR_LOCK_MANAGER_NEW_MIGRATE or VIR_LOCK_MANAGER_NEW_ATTACH.',
      });
  }
}

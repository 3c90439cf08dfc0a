/**
 * The table of callbacks that the proposal of 2010 describes, with its names and numbers, as far as a language
 * with objects and errors needs it: a handle is an object, a string is a string, and a call may be
 * asynchronous. The first argument of the calls is the handle that `new_drv` gave; the reply of 2010 leaves it
 * out in its example.
 */

/** The version of the table: there has been one. */
export const LIBVIRT_LOCK_VERSION = 1;

/**
 * What a table offers beyond the mandatory callbacks. The proposal gave RESOURCES and MIGRATE the same bit
 * (`1 << 0`) and HOTPLUG the next one: a slip. These are bits 0, 1 and 2.
 */
export const VIR_LOCK_MANAGER_DRIVER_RESOURCES = 1 << 0;
export const VIR_LOCK_MANAGER_DRIVER_MIGRATE = 1 << 1;
export const VIR_LOCK_MANAGER_DRIVER_HOTPLUG = 1 << 2;

/** For `new_drv`: what is managed. */
export const VIR_LOCK_MANAGER_OBJECT_TYPE_DOMAIN = 0;

/** For `new_drv`: an incoming migration. */
export const VIR_LOCK_MANAGER_NEW_MIGRATE = 1 << 0;
/** For `new_drv`: a guest that runs already. */
export const VIR_LOCK_MANAGER_NEW_ATTACH = 1 << 1;

/** For `acquire_resource` and `release_resource`. */
export const VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK = 0;
/** Without a flag, the guest is the only one that may use the disk. */
export const VIR_LOCK_MANAGER_RESOURCE_READONLY = 1 << 0;
export const VIR_LOCK_MANAGER_RESOURCE_SHARED = 1 << 1;

/** For the two `complete_migrate` calls: the migration did not take place. */
export const VIR_LOCK_MANAGER_MIGRATE_CANCEL = 1 << 0;

type Awaitable<T> = T | Promise<T>;
/** -1, null and false are failures, as in C; so is an error that is thrown. */
type Status = number | boolean | null | void;

/** A table as a driver may bring it. `Handle` is whatever its `new_drv` gives. */
export interface LockManagerTable<Handle = unknown> {
  /** The newest version that it implements. */
  readonly version: number;
  /** `VIR_LOCK_MANAGER_DRIVER_*`. */
  readonly flags: number;
  load_drv(version: number, flags: number): Awaitable<Status>;
  unload_drv(): Awaitable<Status>;
  new_drv(type: number, flags: number): Awaitable<Handle | null>;
  /** `id`, `uuid` and `name`; before the start. */
  set_parameter_drv(handle: Handle, key: string, value: string): Awaitable<Status>;
  /** Before the start it notes a resource; after it, it takes one more (hotplug). */
  acquire_resource(handle: Handle, type: number, name: string, flags: number): Awaitable<Status>;
  /** Takes everything that was noted, or nothing. */
  startup_drv(handle: Handle): Awaitable<Status>;
  /** Gives everything back. */
  shutdown_drv(handle: Handle): Awaitable<Status>;
  /** Frees the handle, where that is more than forgetting it. */
  free_drv?(handle: Handle): Awaitable<Status>;
  /** Takes up a guest that runs already; the handle is one of NEW_ATTACH. */
  attach_drv?(handle: Handle): Awaitable<Status>;
  /** Gives one resource back while the guest runs. */
  release_resource?(handle: Handle, type: number, name: string, flags: number): Awaitable<Status>;
  prepare_migrate_drv?(handle: Handle, hostUri: string): Awaitable<Status>;
  complete_migrate_out_drv?(handle: Handle, flags: number): Awaitable<Status>;
  complete_migrate_in_drv?(handle: Handle, flags: number): Awaitable<Status>;
}

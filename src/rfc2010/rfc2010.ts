/**
 * The lock manager plugin API that was proposed to libvirt in 2010, both ways.
 *
 * - `createLockManagerDriver`: a caller written that way uses any driver of Holdfast.
 * - `driverFromTable`: a table of callbacks written that way is a driver that any caller can use.
 *
 * docs/from-the-rfc.md maps it call by call.
 */
export { createLockManagerDriver } from './create-lock-manager-driver.js';
export type { LockManagerDriver } from './create-lock-manager-driver.js';
export { driverFromTable } from './driver-from-table.js';
export type { TableOptions } from './driver-from-table.js';
export type { LockManagerTable } from './lock-manager-table.js';
export type { ManagedGuest } from './managed-guest.js';
export {
  LIBVIRT_LOCK_VERSION,
  VIR_LOCK_MANAGER_DRIVER_HOTPLUG,
  VIR_LOCK_MANAGER_DRIVER_MIGRATE,
  VIR_LOCK_MANAGER_DRIVER_RESOURCES,
  VIR_LOCK_MANAGER_MIGRATE_CANCEL,
  VIR_LOCK_MANAGER_NEW_ATTACH,
  VIR_LOCK_MANAGER_NEW_MIGRATE,
  VIR_LOCK_MANAGER_OBJECT_TYPE_DOMAIN,
  VIR_LOCK_MANAGER_RESOURCE_READONLY,
  VIR_LOCK_MANAGER_RESOURCE_SHARED,
  VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK,
} from './lock-manager-table.js';

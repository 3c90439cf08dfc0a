/** Whether a table of 2010 can be used at all, told before anything is started. */
import { HoldfastError } from '../index.js';
import {
  LIBVIRT_LOCK_VERSION,
  VIR_LOCK_MANAGER_DRIVER_HOTPLUG,
  VIR_LOCK_MANAGER_DRIVER_MIGRATE,
  VIR_LOCK_MANAGER_DRIVER_RESOURCES,
} from './lock-manager-table.js';
import type { LockManagerTable } from './lock-manager-table.js';

type Callback = Exclude<keyof LockManagerTable, 'version' | 'flags'>;

const mandatory: readonly Callback[] = [
  'load_drv',
  'unload_drv',
  'new_drv',
  'set_parameter_drv',
  'acquire_resource',
  'startup_drv',
  'shutdown_drv',
];

/** The callbacks that a flag promises. */
const promised: readonly { flag: number; name: string; callbacks: readonly Callback[] }[] = [
  {
    flag: VIR_LOCK_MANAGER_DRIVER_MIGRATE,
    name: 'MIGRATE',
    callbacks: ['prepare_migrate_drv', 'complete_migrate_out_drv', 'complete_migrate_in_drv'],
  },
  { flag: VIR_LOCK_MANAGER_DRIVER_HOTPLUG, name: 'HOTPLUG', callbacks: ['release_resource'] },
];

const bits =
  'The bits are RESOURCES 0, MIGRATE 1, HOTPLUG 2; the proposal had RESOURCES and MIGRATE both at 0.';

/** @throws HoldfastError DRIVER_BROKEN: what is missing, and what to do */
export function requireTable<Handle>(table: LockManagerTable<Handle>, name: string): void {
  const refuse = (fault: string, remedy: string): never => {
    throw new HoldfastError('DRIVER_BROKEN', `driver ${name}: ${fault}`, { remedy });
  };
  const has = (callback: Callback): boolean => typeof table[callback] === 'function';

  if (!(table.version >= LIBVIRT_LOCK_VERSION)) {
    refuse(
      `the table is of version ${String(table.version)}, and ${LIBVIRT_LOCK_VERSION} is needed`,
      `Use a newer version of the driver, or set \`version\` to ${LIBVIRT_LOCK_VERSION} if it has all the callbacks.`,
    );
  }
  const missing = mandatory.filter((callback) => !has(callback));
  if (missing.length > 0) {
    refuse(
      `the table has no ${missing.join(', ')}`,
      'Use a newer version of the driver, or add what is missing: docs/from-the-rfc.md says what each call does.',
    );
  }
  if ((table.flags & VIR_LOCK_MANAGER_DRIVER_RESOURCES) === 0) {
    refuse('its flags lack RESOURCES, so it locks no disk', `Set bit 0 if it does. ${bits}`);
  }
  for (const { flag, name: flagName, callbacks } of promised) {
    const lacking = callbacks.filter((callback) => !has(callback));
    if ((table.flags & flag) === 0 || lacking.length === 0) continue;
    refuse(
      `its flags say ${flagName}, but the table has no ${lacking.join(', ')}`,
      `Add the callback, or clear the flag. ${bits}`,
    );
  }
}

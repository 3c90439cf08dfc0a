/** A lock driver written to the proposal of 2010: names of disks in a map, -1 and null for failures. */
import type { LockManagerTable } from '../../src/rfc2010/rfc2010.js';
import {
  VIR_LOCK_MANAGER_DRIVER_HOTPLUG,
  VIR_LOCK_MANAGER_DRIVER_RESOURCES,
  VIR_LOCK_MANAGER_NEW_ATTACH,
  VIR_LOCK_MANAGER_RESOURCE_READONLY,
  VIR_LOCK_MANAGER_RESOURCE_SHARED,
} from '../../src/rfc2010/rfc2010.js';

export interface Guest {
  readonly parameters: Map<string, string>;
  readonly wanted: Map<string, number>;
  readonly attaching: boolean;
  running: boolean;
}

/** What was called, in order, for tests to look at. */
export interface InMemoryTable extends LockManagerTable<Guest> {
  readonly calls: string[];
  /** Who holds a disk: guests, with the flags they asked for. */
  readonly held: Map<string, Map<Guest, number>>;
}

export function inMemoryTable(): InMemoryTable {
  const calls: string[] = [];
  const held = new Map<string, Map<Guest, number>>();
  const free = (guest: Guest, name: string, flags: number): boolean =>
    [...(held.get(name) ?? [])].every(
      ([other, others]) => other === guest || (others === flags && flags !== 0),
    );
  const take = (guest: Guest, name: string, flags: number): void => {
    held.set(name, (held.get(name) ?? new Map<Guest, number>()).set(guest, flags));
  };
  const drop = (guest: Guest, name: string): void => {
    held.get(name)?.delete(guest);
    if (held.get(name)?.size === 0) held.delete(name);
  };
  return {
    calls,
    held,
    version: 1,
    flags: VIR_LOCK_MANAGER_DRIVER_RESOURCES | VIR_LOCK_MANAGER_DRIVER_HOTPLUG,
    load_drv(version, flags) {
      calls.push(`load ${version} ${flags}`);
      return 0;
    },
    unload_drv() {
      calls.push('unload');
      return 0;
    },
    new_drv(type, flags) {
      calls.push(`new ${type} ${flags}`);
      const attaching = flags === VIR_LOCK_MANAGER_NEW_ATTACH;
      return { parameters: new Map(), wanted: new Map(), attaching, running: false };
    },
    set_parameter_drv(guest, key, value) {
      calls.push(`set ${key}`);
      guest.parameters.set(key, value);
      return 0;
    },
    acquire_resource(guest, type, name, flags) {
      calls.push(`acquire ${type} ${name} ${flags}`);
      const known = VIR_LOCK_MANAGER_RESOURCE_READONLY | VIR_LOCK_MANAGER_RESOURCE_SHARED;
      if ((flags & ~known) !== 0) return -1;
      if (guest.running && !free(guest, name, flags)) return -1;
      guest.wanted.set(name, flags);
      if (guest.running) take(guest, name, flags);
      return 0;
    },
    release_resource(guest, type, name, flags) {
      calls.push(`release ${type} ${name} ${flags}`);
      guest.wanted.delete(name);
      drop(guest, name);
      return 0;
    },
    startup_drv(guest) {
      calls.push('startup');
      for (const [name, flags] of guest.wanted) if (!free(guest, name, flags)) return -1;
      for (const [name, flags] of guest.wanted) take(guest, name, flags);
      guest.running = true;
      return 0;
    },
    attach_drv(guest) {
      calls.push('attach');
      const uuid = guest.parameters.get('uuid');
      for (const [name, flags] of guest.wanted) {
        const before = [...(held.get(name)?.keys() ?? [])].find(
          (other) => other.parameters.get('uuid') === uuid,
        );
        if (before === undefined) return -1;
        drop(before, name);
        take(guest, name, flags);
      }
      guest.running = true;
      return 0;
    },
    shutdown_drv(guest) {
      calls.push('shutdown');
      for (const name of guest.wanted.keys()) drop(guest, name);
      guest.running = false;
      return 0;
    },
  };
}

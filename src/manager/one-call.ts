/** One call for callers that want one hold: a manager of its own, which ends with the hold. */
import type { CheckedPlan } from './check-plan.js';
import type { DiskInput, GuestInput, GuestParts, LibvirtDomain } from './guest-input.js';
import type { Hold } from './hold.js';
import type { LockOptions } from './lock-options.js';
import type { ManagerOptions } from './chosen-drivers.js';
import { openManager } from './open-manager.js';
import type { LookOptions, ResourceUse } from './who.js';

export type CallOptions = ManagerOptions & LockOptions;

/**
 * Locks everything a domain uses, all or nothing.
 * @param domain the domain's XML, or a domain that libvirt knows (`{ connect: 'qemu:///system', name: 'web1' }`)
 * @returns the hold; `release()` it when the guest has ended
 * @throws HoldfastError `IN_USE` with `holders`, and what is wrong with the input
 */
export function lockDomain(domain: string | LibvirtDomain, options: CallOptions = {}): Promise<Hold> {
  return lockOnce(domain, options);
}

/**
 * Locks disks, all or nothing.
 * @param disks paths, `PATH:exclusive|shared|read|peek`, or objects
 * @param options `name` and `owner` say who asks
 */
export function lockDisks(
  disks: readonly (string | DiskInput)[],
  options: CallOptions & Pick<GuestParts, 'name' | 'owner' | 'leases'> = {},
): Promise<Hold> {
  const { name, owner, leases } = options;
  const parts = {
    disks,
    ...(name === undefined ? {} : { name }),
    ...(owner === undefined ? {} : { owner }),
    ...(leases === undefined ? {} : { leases }),
  };
  return lockOnce(parts, options);
}

async function lockOnce(input: GuestInput, options: CallOptions): Promise<Hold> {
  const manager = openManager(options);
  try {
    const hold = await manager.lock(input, options);
    hold.whenEnded(() => manager.close());
    return hold;
  } catch (error) {
    await manager.close();
    throw error;
  }
}

/** The verdict on everything a guest uses, and whether it would be granted now. Takes nothing. */
export async function plan(input: GuestInput, options: CallOptions = {}): Promise<CheckedPlan> {
  const manager = openManager(options);
  try {
    return await manager.plan(input, options);
  } finally {
    await manager.close();
  }
}

/** Who holds or uses what an input is made of, as far as can be seen from here. Takes nothing. */
export async function who(
  input: GuestInput,
  options: ManagerOptions & LookOptions = {},
): Promise<readonly ResourceUse[]> {
  const manager = openManager(options);
  try {
    return await manager.who(input, options);
  } finally {
    await manager.close();
  }
}

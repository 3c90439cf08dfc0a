/** Makes a refusal name who is in the way: what the driver said, what the system shows, what the records say. */
import type { Driver } from '../driver/contract.js';
import { HoldfastError } from '../errors.js';
import { findHolders } from '../holders/find-holders.js';
import type { Holder, LockRequest, Resource } from '../vocabulary.js';
import { recordHolders } from './list-holds.js';
import type { LiveRecord } from './hold-record.js';

/** What the bytes alone tell; a better word is known once a record or a process is found. */
const vague = 'virtlockd or Holdfast';

/**
 * Everyone who holds or uses a resource. `known`: what a driver said of its conflict. Several sources that
 * speak of one process become one holder.
 */
export async function holdersOf(
  resource: Resource,
  known: readonly Holder[],
  records: readonly LiveRecord[],
): Promise<readonly Holder[]> {
  const recorded = await recordHolders(resource, records);
  const { holders: seen, unseen } = await findHolders(resource);
  const merged = mergeHolders([...recorded, ...seen, ...known.filter(({ pid }) => pid !== undefined)]);
  if (merged.length > 0) return merged;
  if (known.length === 0) return [];
  return known.map((holder) => ({
    ...holder,
    through: holder.through,
    evidence: [...holder.evidence, unseen ?? 'no process on this host has it open'],
    ...(unseen === undefined ? { host: 'another host' } : { remedy: `${unseen}; run it as root to see who` }),
  }));
}

/** One holder for each process, or else for each guest; the first that says something is believed. */
export function mergeHolders(holders: readonly Holder[]): readonly Holder[] {
  const merged = new Map<string, Holder>();
  for (const holder of holders) {
    const key = holder.pid === undefined ? `${holder.guest} ${holder.through.join()}` : `pid ${holder.pid}`;
    const before = merged.get(key);
    merged.set(key, before === undefined ? holder : both(before, holder));
  }
  return [...merged.values()];
}

function both(first: Holder, second: Holder): Holder {
  const through = [...new Set([...first.through, ...second.through])];
  const certain = through.filter((word) => word !== vague);
  const evidence = [...new Set([...first.evidence, ...second.evidence])];
  return { ...second, ...first, through: certain.length > 0 ? certain : through, evidence };
}

/** The refusal with its holders; anything else unchanged. */
export async function explainRefusal(
  error: HoldfastError,
  requests: readonly LockRequest[],
  records: readonly LiveRecord[],
): Promise<HoldfastError> {
  const request = requests.find(({ resource }) => resource.label === error.resource);
  if (request === undefined) return error;
  const holders = await holdersOf(request.resource, error.holders, records);
  return refusal(request, holders, error);
}

/** The one place where a refusal is worded. */
export function refusal(
  { resource, mode }: LockRequest,
  holders: readonly Holder[],
  cause?: unknown,
): HoldfastError {
  const asked = { exclusive: 'exclusively', shared: 'shared', read: 'for reading', part: 'for a part of it' }[
    mode
  ];
  const remedies = [...new Set(holders.flatMap(({ remedy }) => remedy ?? []))];
  return new HoldfastError('IN_USE', `${resource.label} is in use (you asked for it ${asked})`, {
    resource: resource.label,
    mode,
    holders,
    ...(remedies.length === 0 ? {} : { remedy: remedies.join('; ') }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Who is in the way of a request by what a driver without `probe` says of its holders. */
export async function conflictingHolders(
  driver: Driver,
  { resource, mode }: LockRequest,
): Promise<readonly Holder[]> {
  const holders = await driver.holders(resource);
  return holders.filter((holder) => mode === 'exclusive' || holder.mode !== mode);
}

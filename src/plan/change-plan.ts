/** What a plan becomes when disks are added to a guest or taken from it. */
import type { Plan, PlanItem } from '../vocabulary.js';
import { mergeRequests } from './merge-requests.js';

/**
 * Both plans as one guest's. What it cannot have at once, such as one disk twice, is refused as it would be in one
 * plan. `added` has the same owner.
 */
export function joinPlans(before: Plan, added: Plan): Plan {
  const known = new Set(before.items.map(({ resource }) => resource?.identity));
  const isNew = ({ role, resource }: PlanItem): boolean =>
    role !== 'domain' || !known.has(resource?.identity);
  const items = [...before.items, ...added.items.filter(isNew)];
  return {
    ...before,
    ...mergeRequests(items),
    notes: [...new Set([...before.notes, ...added.notes])],
    headersRead: before.headersRead || added.headersRead,
  };
}

/**
 * The plan without what is named, by path as written, target (`vdb`) or identity, and without what was there only
 * for that: bases and ancestors that nothing else needs. Undefined: it has no such disk or lease of its own.
 */
export function withoutName(plan: Plan, name: string): Plan | undefined {
  const named = (item: PlanItem): boolean =>
    item.of === undefined &&
    // The guest's own uuid has no path or target; who names it by identity knows what he does.
    (item.role === 'domain' ? [] : [item.target, item.label]).concat(item.resource?.identity).includes(name);
  let items = plan.items.filter((item) => !named(item));
  if (items.length === plan.items.length) return undefined;
  for (let before = 0; before !== items.length;) {
    before = items.length;
    const labels = new Set(items.map(({ label }) => label));
    items = items.filter(({ of }) => of === undefined || labels.has(of));
  }
  return { ...plan, ...mergeRequests(items) };
}

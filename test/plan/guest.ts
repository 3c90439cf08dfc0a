/** Guests and scratch folders for the tests of planning. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import type {
  DiskDescription,
  GuestDescription,
  LeaseDescription,
  Plan,
  PlanItem,
} from '../../src/vocabulary.js';

export const uuid = '4dea22b3-1d52-d8f3-2516-782e98ab3fa0';

/** A folder of the test's own, gone after it. */
export function scratch(t: TestContext): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'holdfast-plan-')));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function disk(path: string, more: Partial<DiskDescription> = {}): DiskDescription {
  return {
    role: 'disk',
    label: path,
    target: `t-${basename(path)}`,
    source: { type: 'file', path },
    mode: 'exclusive',
    optional: false,
    ...more,
  };
}

/** As `--disk` gives it: no target, no place. */
export function argument(path: string, mode: DiskDescription['mode'] = 'exclusive'): DiskDescription {
  return { role: 'disk', label: path, source: { type: 'file', path }, mode, optional: false };
}

export function guest(
  disks: readonly DiskDescription[],
  more: { kind?: 'domain' | 'command'; leases?: readonly LeaseDescription[] } = {},
): GuestDescription {
  return {
    owner: { kind: more.kind ?? 'command', name: 'web1', uuid },
    disks,
    leases: more.leases ?? [],
  };
}

/** The item of a label; there is one, or the test fails. */
export function itemOf(plan: Plan, label: string): PlanItem {
  const [item, second] = plan.items.filter((candidate) => candidate.label === label);
  if (item === undefined || second !== undefined) {
    throw new Error(`not one item ${label} in ${plan.items.map((i) => i.label).join(', ')}`);
  }
  return item;
}

/** Mode and label of each request, sorted by label. */
export function asked(plan: Plan): string[] {
  return plan.requests.map(({ mode, resource }) => `${mode} ${resource.label}`).toSorted();
}

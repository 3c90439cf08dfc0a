import { HoldfastError } from '../../errors.js';
import type { CheckedPlan, ResourceState } from '../../index.js';
import { printable } from '../../printable.js';
import type { PlanItem } from '../../vocabulary.js';
import { guestFrom, lockOptionsFrom, managerFrom } from '../manager-from-options.js';
import type { OptionValues, Parsed } from '../parse-arguments.js';
import { renderRefusal } from '../render-refusal.js';
import { renderTable, type Cell } from '../render-table.js';
import { styleFor, type Style } from '../style.js';
import { writeOut } from '../write.js';

const inUse = 75;
const notPermitted = 77;

/** `holdfast plan`. */
export async function plan({ options }: Parsed): Promise<number> {
  const manager = managerFrom(options);
  try {
    const checked = await manager.plan(guestFrom(options, undefined), {
      ...lockOptionsFrom(options),
      runs: 'in place',
    });
    writeOut(
      options.has('json') ? `${JSON.stringify(checked, null, 2)}\n` : renderPlan(checked, styleFor(1)),
    );
    return statusOf(checked, options);
  } finally {
    await manager.close();
  }
}

/** Not permitted only if nothing else is in the way: who may not write a disk that is in use can wait first. */
function statusOf({ granted, items, states }: CheckedPlan, options: OptionValues): number {
  if (granted) return 0;
  const only = states.filter(({ free }) => !free).every(({ code }) => code === 'NOT_PERMITTED');
  if (only && items.every(({ verdict }) => verdict !== 'refuse')) return notPermitted;
  return Number(options.text('conflict-exit-code') ?? inUse);
}

/** The table, what is in the way, the notes, and the verdict. */
export function renderPlan(checked: CheckedPlan, style: Style): string {
  const states = new Map(checked.states.map((state) => [state.identity, state]));
  // What is long stands last, and the identity below its resource: a path and an identity in one line are wider than a terminal.
  const rows = checked.items.flatMap((item): (string | Cell)[][] => [
    [
      item.mode ?? '-',
      { text: item.verdict, ...(item.verdict === 'refuse' ? { paint: style.red } : {}) },
      grantedNow(item, states.get(item.resource?.identity ?? ''), style),
      resourceOf(item),
    ],
    ...(item.resource === undefined ? [] : [['', '', '', item.resource.identity]]),
  ]);
  const parts = [renderTable(['MODE', 'VERDICT', 'NOW', 'RESOURCE'], rows, style)];
  const reasons = checked.items.flatMap(reasonOf);
  if (reasons.length > 0) parts.push('\n', ...reasons);
  const refusals = [...refusedItems(checked), ...statesInTheWay(checked)];
  if (refusals.length > 0) parts.push('\n', ...refusals.map((error) => renderRefusal(error, { style })));
  if (checked.notes.length > 0)
    parts.push('\n', ...checked.notes.map((note) => `note: ${printable(note)}\n`));
  const [paint, verdict] = checked.granted
    ? [style.green, 'It would be granted now.']
    : [style.red, 'It would not be granted now.'];
  return [...parts, `\n${paint(verdict)}\n`].join('');
}

function resourceOf({ label, role, target }: PlanItem): string {
  const what = target ?? (role === 'disk' ? undefined : role);
  return what === undefined ? label : `${label} (${what})`;
}

/** Below the table, which it would make too wide; that of what is refused stands in the refusal. */
function reasonOf(item: PlanItem): string[] {
  const { verdict, reason } = item;
  if (verdict === 'refuse' || reason === undefined) return [];
  return [`${verdict}: ${printable(resourceOf(item))}: ${printable(reason)}\n`];
}

function grantedNow({ verdict }: PlanItem, state: ResourceState | undefined, style: Style): Cell {
  if (verdict === 'skip') return { text: '-' };
  if (verdict === 'lock' && state?.free === true) return { text: 'yes', paint: style.green };
  return { text: 'no', paint: style.red };
}

function refusedItems({ items }: CheckedPlan): HoldfastError[] {
  return items
    .filter(({ verdict }) => verdict === 'refuse')
    .map(({ code = 'CANNOT_LOCK', label, reason = 'refused', remedy, place }) => {
      const details = {
        ...(remedy === undefined ? {} : { remedy }),
        ...(place === undefined ? {} : { place }),
      };
      return new HoldfastError(code, `${label}: ${reason}`, details);
    });
}

function statesInTheWay({ states, requests }: CheckedPlan): HoldfastError[] {
  const byIdentity = new Map(requests.map((request) => [request.resource.identity, request]));
  return states.flatMap(({ identity, free, reason, code = 'IN_USE', remedy, holders }) => {
    const request = byIdentity.get(identity);
    if (free || request === undefined) return [];
    const { label } = request.resource;
    const details = {
      resource: label,
      mode: request.mode,
      holders,
      ...(remedy === undefined ? {} : { remedy }),
    };
    return [new HoldfastError(code, `${label}: ${reason ?? 'it is in use'}`, details)];
  });
}

import type { DescribedDriver } from '../../index.js';
import { managerFrom } from '../manager-from-options.js';
import type { Parsed } from '../parse-arguments.js';
import { renderRefusal } from '../render-refusal.js';
import { renderTable, type Cell } from '../render-table.js';
import { styleFor, type Style } from '../style.js';
import { writeOut } from '../write.js';

/** `holdfast drivers`. */
export async function drivers({ options }: Parsed): Promise<number> {
  const manager = managerFrom(options);
  try {
    const listed = await manager.drivers();
    writeOut(options.has('json') ? `${driversAsJson(listed)}\n` : renderDrivers(listed, styleFor(1)));
    return 0;
  } finally {
    await manager.close();
  }
}

function driversAsJson(listed: readonly DescribedDriver[]): string {
  const data = listed.map(({ name, from, location, shadowed, about, abilities, notStarted, error }) => ({
    name,
    from,
    location,
    shadowed,
    ...(error === undefined ? { about, abilities, notStarted } : { error }),
  }));
  return JSON.stringify(data, null, 2);
}

/** Optional functions that a user never asks for; `--json` has all. */
const internal: readonly string[] = ['mapRequest', 'probe', 'notes', 'end', 'tidy'];

export function renderDrivers(listed: readonly DescribedDriver[], style: Style): string {
  const rows = listed.map(({ name, from, location, shadowed, about, abilities }): (string | Cell)[] => [
    shadowed ? { text: `${name} (shadowed)`, paint: style.dim } : name,
    from,
    about?.reach ?? '-',
    about?.modes.join(', ') ?? '-',
    location,
    abilities?.filter((ability) => !internal.includes(ability)).join(', ') ?? '-',
  ]);
  const table = renderTable(['NAME', 'FROM', 'REACH', 'MODES', 'WHERE', 'ALSO CAN'], rows, style);
  const errors = listed.flatMap(({ error, notStarted }) => {
    const shown = error ?? notStarted;
    return shown === undefined ? [] : [renderRefusal(shown, { style })];
  });
  return [table, ...(errors.length === 0 ? [] : ['\n', ...errors])].join('');
}

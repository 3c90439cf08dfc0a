import { HoldfastError } from '../../errors.js';
import {
  makeLease,
  parseLeaseArea,
  parseLeasePlace,
  readLeaseSize,
  readLeases,
  type FoundLeaseArea,
  type LeaseHost,
} from '../../index.js';
import { printable } from '../../printable.js';
import type { OptionValues, Parsed } from '../parse-arguments.js';
import { renderTable } from '../render-table.js';
import { styleFor, type Style } from '../style.js';
import { writeOut } from '../write.js';

/** `holdfast lease`. */
export async function lease({ options, operands: [action = '', place = ''] }: Parsed): Promise<number> {
  if (action === 'init') return init(place, options);
  if (action === 'show') return show(place, options);
  throw new HoldfastError('USAGE', `lease cannot '${action}'`, {
    remedy: 'Write: holdfast lease init ..., or holdfast lease show ...',
  });
}

function driversFrom(options: OptionValues): { configuration?: string } {
  const configuration = options.text('config');
  return configuration === undefined ? {} : { configuration };
}

/** A size that an option gives, under the name that the library has for it. */
function sizeFrom<Key extends string>(
  options: OptionValues,
  option: 'sector' | 'align',
  key: Key,
): Partial<Record<Key, number>> {
  const text = options.text(option);
  if (text === undefined) return {};
  const size = readLeaseSize(text);
  if (size !== undefined) return { [key]: size } as Record<Key, number>;
  throw new HoldfastError('USAGE', `--${option}: "${text}" is no size`, {
    remedy: option === 'sector' ? 'Write 512 or 4096.' : 'Write 1M, 2M, 4M or 8M.',
  });
}

async function init(place: string, options: OptionValues): Promise<number> {
  const { area, made } = await makeLease(parseLeaseArea(place), {
    ...driversFrom(options),
    force: options.has('force'),
    ...sizeFrom(options, 'sector', 'sectorBytes'),
    ...sizeFrom(options, 'align', 'bytes'),
  });
  if (options.has('json')) writeOut(`${JSON.stringify({ made, area }, null, 2)}\n`);
  else
    writeOut(
      `${printable(nameOf(area))} ${made ? 'is made' : 'is there already'}: ${printable(area.path)} at ${area.offset}${formInWords(area)}.\n`,
    );
  return 0;
}

async function show(place: string, options: OptionValues): Promise<number> {
  const foreign = ['force', 'sector', 'align'].find((name) => options.has(name));
  if (foreign !== undefined) {
    throw new HoldfastError('USAGE', `show takes no --${foreign}`, { remedy: 'See: holdfast help lease' });
  }
  const wanted = parseLeasePlace(place);
  const found = await readLeases(wanted, driversFrom(options));
  const there =
    'lockspace' in wanted
      ? found.filter(({ lockspace, name }) => lockspace === wanted.lockspace && name === wanted.name)
      : found;
  if (there.length === 0) throw nothing(wanted, found);
  writeOut(options.has('json') ? `${JSON.stringify(there, null, 2)}\n` : renderLeases(there, styleFor(1)));
  return 0;
}

function nothing(
  { path, offset }: Pick<FoundLeaseArea, 'path'> & { readonly offset?: number },
  [other]: readonly FoundLeaseArea[],
): HoldfastError {
  const where = offset === undefined ? path : `${path} at ${offset}`;
  const what =
    other === undefined ? 'no lease and no lockspace' : `the ${nameOf(other)}, and not what was asked for`;
  return new HoldfastError('NO_LEASE', `in ${where} there is ${what}`, {
    resource: path,
    remedy:
      offset === undefined
        ? 'Check the path; holdfast lease init makes one.'
        : `See all that is there: holdfast lease show ${path.replaceAll(':', '\\:')}`,
  });
}

/** Of the usual form nothing is said. */
function formInWords({ bytes, sectorBytes }: FoundLeaseArea): string {
  return sectorBytes === 512 ? '' : `, ${bytes / 1024 / 1024} MiB with sectors of ${sectorBytes} bytes`;
}

function nameOf({ lockspace, name }: FoundLeaseArea): string {
  return name === undefined ? `lockspace ${lockspace}` : `lease ${lockspace}:${name}`;
}

/** A line for each area, and for each host of it. */
export function renderLeases(areas: readonly FoundLeaseArea[], style: Style): string {
  const rows = areas.flatMap((area) => {
    const { lockspace, name, offset, version, hosts } = area;
    const head = [String(offset), lockspace, name ?? '(the lockspace)', version ?? '-'];
    const who = hosts.length === 0 ? ['-'] : hosts.map(hostInWords);
    return who.map((text, index) => [...(index === 0 ? head : ['', '', '', '']), text]);
  });
  return renderTable(['OFFSET', 'LOCKSPACE', 'LEASE', 'VERSION', 'HOSTS'], rows, style);
}

function hostInWords({ hostId, generation, name, mode, state }: LeaseHost): string {
  const told = state === 'unknown' ? 'not watched from here' : state;
  const details = [`generation ${generation}`, ...(mode === undefined ? [] : [mode]), told].join(', ');
  return `${hostId}${name === undefined ? '' : ` ${name}`} (${details})`;
}

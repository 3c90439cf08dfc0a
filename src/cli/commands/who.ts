import { isatty } from 'node:tty';
import { isHoldfastError, HoldfastError } from '../../errors.js';
import { requireFaithfulArguments, type GuestParts, type Manager, type ResourceUse } from '../../index.js';
import { guestFrom, managerFrom } from '../manager-from-options.js';
import type { OptionValues, Parsed } from '../parse-arguments.js';
import { renderUse } from '../render-use.js';
import { styleFor } from '../style.js';
import { writeOut } from '../write.js';

const stdout = 1;
const inUse = 0;
const free = 1;
const notFullySeen = 77;

/** `holdfast who`. */
export async function who({ options, operands }: Parsed): Promise<number> {
  const input = inputFrom(options, operands);
  const manager = managerFrom(options);
  try {
    return options.has('watch') ? await watch(manager, input, options) : await once(manager, input, options);
  } finally {
    await manager.close();
  }
}

/** Words are paths as they are, whatever colons they have. */
function inputFrom(options: OptionValues, paths: readonly string[]): GuestParts {
  requireReadablePaths(paths);
  const disks = paths.map((path) => ({ path, mode: 'read' as const }));
  if (disks.length === 0) return guestFrom(options, undefined, 'there is nothing to look at', 'a PATH, ');
  const others = ['xml', 'domain', 'disk', 'lease'].some((name) => options.has(name));
  if (!others) return { disks };
  const guest = guestFrom(options, undefined);
  return { ...guest, disks: [...disks, ...(guest.disks ?? [])] };
}

function requireReadablePaths(paths: readonly string[]): void {
  if (paths.includes('')) throw new HoldfastError('USAGE', 'a PATH is empty', { remedy: 'Name a disk.' });
  try {
    requireFaithfulArguments(paths);
  } catch (error) {
    if (!isHoldfastError(error, 'USAGE')) throw error;
    throw new HoldfastError('USAGE', 'a path is not UTF-8, and cannot be read as it is', {
      remedy: 'Name the disk by another path: a symlink to it counts as the disk itself.',
    });
  }
}

async function once(manager: Manager, input: GuestParts, options: OptionValues): Promise<number> {
  // One of several that is not there is told beside the others; a single one is the error itself.
  const reportMissing = (input.disks ?? []).length > 1;
  const uses = await manager.who(input, { reportMissing });
  if (options.has('json')) {
    writeOut(`${JSON.stringify(uses, null, 2)}\n`);
  } else {
    const style = styleFor(stdout);
    const verbose = options.has('verbose');
    writeOut(uses.map((use) => renderUse(use, { style, verbose })).join(uses.some(isLong) ? '\n' : ''));
  }
  const missing = uses.find(({ error }) => error !== undefined)?.error;
  if (missing !== undefined) return missing.exitCode;
  if (uses.some(({ state }) => state === 'in use')) return inUse;
  return uses.every(({ state }) => state === 'free') ? free : notFullySeen;
}

/** One line each needs no empty lines between. */
function isLong({ state, notes }: ResourceUse): boolean {
  return state !== 'free' || notes.length > 0;
}

async function watch(manager: Manager, input: GuestParts, options: OptionValues): Promise<number> {
  const live = isatty(stdout) && !options.has('json') && process.env['TERM'] !== 'dumb';
  const { watchLive, watchLines } = await import('../watch-holders.js');
  const json = options.has('json');
  return live ? watchLive(manager, input, options.has('verbose')) : watchLines(manager, input, json);
}

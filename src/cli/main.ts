/**
 * The entry of the command. It must start fast: what only one command needs is imported when it is needed.
 * Exit statuses: exit-codes.ts.
 */
import type { HoldfastError } from '../errors.js';
import { isHoldfastError } from '../errors.js';
import type { CommandFunction } from './command-function.js';
import { restoreEnvironment } from './inherited-environment.js';
import { parseArguments, type Parsed } from './parse-arguments.js';
import { writeError, writeOut } from './write.js';

const outputFailed = 74;
const bug = 70;
const usage = 64;

const functions: Readonly<Record<string, () => Promise<CommandFunction>>> = {
  run: async () => (await import('./commands/run.js')).run,
  plan: async () => (await import('./commands/plan.js')).plan,
  list: async () => (await import('./commands/list.js')).list,
  drivers: async () => (await import('./commands/drivers.js')).drivers,
  help: async () => (await import('./commands/help.js')).help,
  version: async () => (await import('./commands/version.js')).version,
};

async function main(argv: readonly string[]): Promise<number> {
  let parsed: Parsed | undefined;
  try {
    parsed = parseArguments(argv);
    if (parsed === undefined) {
      const { overview } = await import('./commands/help.js');
      writeError(overview(2));
      return usage;
    }
    const command = await functions[parsed.command.name]?.();
    return (await command?.(parsed)) ?? bug;
  } catch (error) {
    return reportFailure(error, parsed, argv);
  }
}

async function reportFailure(
  error: unknown,
  parsed: Parsed | undefined,
  argv: readonly string[],
): Promise<number> {
  if (!isHoldfastError(error)) return reportBug(error);
  // The arguments may be what could not be parsed.
  const dashes = argv.indexOf('--');
  const json = (dashes === -1 ? argv : argv.slice(0, dashes)).includes('--json');
  if (json) {
    const text = `${JSON.stringify(error)}\n`;
    if (parsed === undefined || parsed.command.name === 'run') writeError(text);
    else writeOut(text);
  } else {
    const { renderRefusal } = await import('./render-refusal.js');
    const { styleFor } = await import('./style.js');
    writeError(renderRefusal(error, { style: styleFor(2), ...waitHint(parsed, error) }));
  }
  const conflict = parsed?.options.text('conflict-exit-code');
  return error.exitCode === 75 && conflict !== undefined ? Number(conflict) : error.exitCode;
}

/** Whoever did not wait can. */
function waitHint(parsed: Parsed | undefined, error: HoldfastError): { waitCommand?: string } {
  if (parsed?.command.name !== 'run' || parsed.options.has('wait') || error.code !== 'IN_USE') return {};
  return { waitCommand: 'holdfast run --wait=5m ...' };
}

function reportBug(error: unknown): number {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (syscall === 'write' && code !== undefined) {
    writeError(`holdfast: the output could not be written: ${code}\n`);
    return outputFailed;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  writeError(`holdfast: a bug in Holdfast, please report it with these lines:\n${text}\n`);
  return bug;
}

process.on('uncaughtException', (error) => process.exit(reportBug(error)));
restoreEnvironment();
void main(process.argv.slice(2)).then((status) => process.exit(status));

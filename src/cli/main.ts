/**
 * The entry of the command. It must start fast: what only one command needs is imported when it is needed.
 * Exit statuses: exit-codes.ts.
 */
import { HoldfastError, isHoldfastError } from '../errors.js';
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
  who: async () => (await import('./commands/who.js')).who,
  list: async () => (await import('./commands/list.js')).list,
  break: async () => (await import('./commands/break.js')).breakLock,
  attach: async () => (await import('./commands/attach.js')).attach,
  detach: async () => (await import('./commands/detach.js')).detach,
  suspend: async () => (await import('./commands/suspend.js')).suspend,
  resume: async () => (await import('./commands/resume.js')).resume,
  release: async () => (await import('./commands/release.js')).release,
  lease: async () => (await import('./commands/lease.js')).lease,
  doctor: async () => (await import('./commands/doctor.js')).doctor,
  serve: async () => (await import('./commands/serve.js')).serve,
  drivers: async () => (await import('./commands/drivers.js')).drivers,
  help: async () => (await import('./commands/help.js')).help,
  version: async () => (await import('./commands/version.js')).version,
};

const argv = process.argv.slice(2);
/** Undefined as long as the arguments are not understood. */
let parsed: Parsed | undefined;

async function main(): Promise<number> {
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
    return reportFailure(error);
  }
}

async function reportFailure(error: unknown): Promise<number> {
  if (!isHoldfastError(error)) return reportBug(error);
  const conflict = parsed?.options.text('conflict-exit-code');
  const status = error.exitCode === 75 && conflict !== undefined ? Number(conflict) : error.exitCode;
  if (asksForJson()) {
    writeData({ ...error.toJSON(), exitCode: status });
  } else {
    const { renderRefusal } = await import('./render-refusal.js');
    const { styleFor } = await import('./style.js');
    writeError(renderRefusal(error, { style: styleFor(2), ...waitHint(error) }));
  }
  return status;
}

/** From the words, not from what was parsed of them: they may be what could not be parsed. */
function asksForJson(): boolean {
  const dashes = argv.indexOf('--');
  return (dashes === -1 ? argv : argv.slice(0, dashes)).includes('--json');
}

/** An error as data, where the command's data would be; the stdout of `run` is its command's. */
function writeData(data: Record<string, unknown>): void {
  const text = `${JSON.stringify(data)}\n`;
  if (parsed === undefined || parsed.command.name === 'run') writeError(text);
  else writeOut(text);
}

/** Whoever did not wait can. */
function waitHint(error: HoldfastError): { waitCommand?: string } {
  if (parsed?.command.name !== 'run' || parsed.options.has('wait') || error.code !== 'IN_USE') return {};
  return { waitCommand: 'holdfast run --wait=5m ...' };
}

function reportBug(error: unknown): number {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (syscall === 'write' && code !== undefined) {
    writeError(`holdfast: the output could not be written: ${code}\n`);
    return outputFailed;
  }
  if (asksForJson()) {
    const message = error instanceof Error ? error.message : String(error);
    const stack = error instanceof Error ? error.stack : undefined;
    writeData({ ...new HoldfastError('INTERNAL', message).toJSON(), stack });
    return bug;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  writeError(`holdfast: a bug in Holdfast, please report it with these lines:\n${text}\n`);
  return bug;
}

process.on('uncaughtException', (error) => process.exit(reportBug(error)));
restoreEnvironment();
void main().then((status) => process.exit(status));

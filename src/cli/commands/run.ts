import { basename } from 'node:path';
import { HoldfastError, isHoldfastError } from '../../errors.js';
import {
  requireFaithfulArguments,
  runInPlace,
  startGuardEarly,
  superviseCommand,
  takeLaunchState,
  type AcquireProgress,
  type Hold,
  type LossAction,
  type Manager,
  type Waiting,
} from '../../index.js';
import { printable } from '../../printable.js';
import { guestFrom, lockOptionsFrom, managerFrom } from '../manager-from-options.js';
import type { OptionValues, Parsed } from '../parse-arguments.js';
import { writeError } from '../write.js';
import type { WaitingLine } from '../waiting-line.js';

/** `holdfast run`: returns only if the command was supervised. Throws the refusal, with nothing held. */
export async function run({ options, operands }: Parsed): Promise<number> {
  // At once, so that no program that is asked on the way (virsh, qemu-img) sees it.
  const launch = takeLaunchState();
  const command = operands as readonly [string, ...string[]];
  requireFaithfulArguments(command);
  const manager = managerFrom(options);
  try {
    await requireSomebodyToAct(manager, options);
    for (let again = false; ; again = true) {
      const guard = (await endsByItself(manager)) ? await startGuardEarly() : undefined;
      let hold: Hold;
      try {
        hold = await (again ? lockAgain(manager, options, command) : lock(manager, options, command));
      } catch (error) {
        guard?.order({ do: 'end' });
        throw error;
      }
      sayNotes(hold, options);
      if (!options.has('supervise') && !hold.needsSupervision) return await runInPlace(hold, command, launch);
      const onLost = await lossAction(manager, hold, options);
      try {
        return await superviseCommand(hold, command, { onLost, launch, guard, onUnreleased });
      } catch (error) {
        // Everything that ran under the lost lock is stopped by now; it may start again under a new one.
        if (onLost !== 'restart' || !isHoldfastError(error, 'LOST')) throw error;
        if (!options.has('quiet')) writeError(`holdfast: ${error.message}; starting again\n`);
      }
    }
  } finally {
    await manager.close();
  }
}

/** What is wrong with the drivers is said where they are needed. */
async function requireSomebodyToAct(manager: Manager, options: OptionValues): Promise<void> {
  if (!options.has('on-lost') || options.has('supervise')) return;
  if (await manager.heedsLoss().catch(() => true)) return;
  throw new HoldfastError('USAGE', '--on-lost makes sense only with --supervise', {
    remedy: 'Nobody stays beside the command who would hear of a loss. See `holdfast run --help`.',
  });
}

/** What the command has done is done, and its status is its own. */
function onUnreleased(error: unknown): void {
  const why = error instanceof Error ? error.message : String(error);
  writeError(`holdfast: the command has ended, and its locks could not be given back: ${printable(why)}\n`);
}

/** What is wrong with the drivers is said where they are needed. */
async function endsByItself(manager: Manager): Promise<boolean> {
  return manager.renews().catch(() => false);
}

/** Between two tries, where nobody can be waited for. */
const againMs = 1_000;

/** After a loss: waits for whoever has it now (its own lock of before may not have come to its end), and for a way to ask. */
async function lockAgain(
  manager: Manager,
  options: OptionValues,
  command: readonly [string, ...string[]],
): Promise<Hold> {
  for (;;) {
    try {
      return await lock(manager, options, command, true);
    } catch (error) {
      if (!isHoldfastError(error) || !error.retryable || options.has('wait')) throw error;
      await new Promise((resolve) => setTimeout(resolve, againMs));
    }
  }
}

async function lock(
  manager: Manager,
  options: OptionValues,
  command: readonly [string, ...string[]],
  again = false,
): Promise<Hold> {
  const silent = options.has('quiet') || options.has('json');
  const waits = again || options.has('wait') || (await manager.configuration()).waitMs !== undefined;
  const line = waits && !silent ? await lineForWaiting() : undefined;
  try {
    return await manager.lock(guestFrom(options, basename(command[0])), {
      ...(again ? { wait: true } : {}),
      ...lockOptionsFrom(options),
      command,
      runs: options.has('supervise') ? 'beside' : 'in place',
      ...(options.has('quiet') ? {} : { onProgress: (one) => sayProgress(one, options.has('json')) }),
      ...(line === undefined ? {} : { onWait: (waiting: Waiting) => line.show(waiting) }),
    });
  } finally {
    line?.end();
  }
}

function sayProgress(progress: AcquireProgress, json: boolean): void {
  if (json) {
    writeError(`${JSON.stringify({ progress })}\n`);
    return;
  }
  const { what, expectedMs, mostMs } = progress;
  const [usual, most] = [expectedMs, mostMs].map((ms) => Math.ceil(ms / 1000));
  writeError(`holdfast: ${printable(what)}: ${usual} s if all is well, at most ${most} s\n`);
}

async function lineForWaiting(): Promise<WaitingLine> {
  const { waitingLine } = await import('../waiting-line.js');
  return waitingLine();
}

function sayNotes({ notes }: Hold, options: OptionValues): void {
  if (notes.length === 0 || options.has('quiet')) return;
  if (options.has('json')) writeError(`${JSON.stringify({ notes })}\n`);
  else writeError(notes.map((note) => `holdfast: ${printable(note)}\n`).join(''));
}

/** The command line wins over the domain, and the domain, which knows itself, over the configuration. */
async function lossAction(manager: Manager, hold: Hold, options: OptionValues): Promise<LossAction> {
  const asked = options.text('on-lost') as LossAction | undefined;
  return asked ?? hold.plan.onLockFailure ?? (await manager.configuration()).onLost ?? 'poweroff';
}

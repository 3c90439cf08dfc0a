/** Signal dispositions as the command should find them (execve(2): handled signals become default, ignored ones stay). */
import { constants } from 'node:os';
import { libcFunction } from './libc.js';
import type { LaunchState } from './launch-state.js';

const SIG_DFL = 0;
const SIG_IGN = 1;
const standardSignalsMax = 31;

const { SIGKILL, SIGSTOP } = constants.signals;

/** Which signals Node itself ignores. */
const ignoredByNode: readonly number[] = [constants.signals.SIGPIPE, constants.signals.SIGXFSZ];

const signal = libcFunction<[number: number, handler: number]>(
  'intptr_t signal(int number, intptr_t handler)',
);

/**
 * Gives signals the dispositions that they had before Node started: Node ignores SIGPIPE and SIGXFSZ, and
 * makes everything else default, so that `nohup` would be undone. Without `launch` nothing was ignored.
 */
export function restoreSignals(launch: LaunchState | undefined): void {
  const ignored = launch?.ignoredSignals ?? 0n;
  for (let number = 1; number <= standardSignalsMax; number++) {
    if (number === SIGKILL || number === SIGSTOP) continue;
    const wasIgnored = (ignored & (1n << BigInt(number - 1))) !== 0n;
    if (wasIgnored) signal(number, SIG_IGN);
    else if (ignoredByNode.includes(number)) signal(number, SIG_DFL);
  }
}

/** Signal dispositions as the command should find them (execve(2): handled signals become default, ignored ones stay). */
import { libcFunction } from './libc.js';
import type { LaunchState } from './launch-state.js';

const SIG_DFL = 0;
const SIG_IGN = 1;
const standardSignalsMax = 31;

// signal(7): the numbers of every architecture that Node is made for, without loading node:os for them.
const SIGHUP = 1;
const SIGINT = 2;
const SIGQUIT = 3;
const SIGKILL = 9;
const SIGUSR1 = 10;
const SIGUSR2 = 12;
const SIGSTOP = 19;
const SIGCHLD = 17;
const SIGTSTP = 20;
const SIGTTIN = 21;
const SIGTTOU = 22;
const SIGPIPE = 13;
const SIGXFSZ = 25;

/** Which signals Node itself ignores. */
const ignoredByNode: readonly number[] = [SIGPIPE, SIGXFSZ];

const signal = libcFunction<[number: number, handler: number]>(
  'intptr_t signal(int number, intptr_t handler)',
);

/** The numbers of the signals that were ignored before Node started. */
export function ignoredSignals(launch: LaunchState | undefined): readonly number[] {
  const mask = launch?.ignoredSignals ?? 0n;
  const numbers = Array.from({ length: standardSignalsMax }, (_, index) => index + 1);
  return numbers.filter(
    (number) => number !== SIGKILL && number !== SIGSTOP && (mask & (1n << BigInt(number - 1))) !== 0n,
  );
}

/** Ignores them again in this process, which stays: all but SIGCHLD, which Node needs to hear of its children. */
export function ignoreSignals(launch: LaunchState | undefined): void {
  for (const number of ignoredSignals(launch)) if (number !== SIGCHLD) signal(number, SIG_IGN);
}

/**
 * Ignores what a terminal sends to a whole group, its end, and what else Node would answer (SIGUSR1 opens its debugger). libuv
 * gives children the default of each.
 */
export function ignoreTerminal(): void {
  for (const number of [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU])
    signal(number, SIG_IGN);
}

/**
 * Gives signals the dispositions that they had before Node started: Node ignores SIGPIPE and SIGXFSZ, and
 * makes everything else default, so that `nohup` would be undone. Without `launch` nothing was ignored.
 */
export function restoreSignals(launch: LaunchState | undefined): void {
  const ignored = ignoredSignals(launch);
  for (const number of ignored) signal(number, SIG_IGN);
  for (const number of ignoredByNode) if (!ignored.includes(number)) signal(number, SIG_DFL);
}

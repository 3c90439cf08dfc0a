/**
 * What is said between a guard and who started it: one JSON value a line, through pipes. The times are in the page
 * (deadline-page.ts), so nothing that comes often goes this way.
 */

/** What is to happen to whoever is guarded when the time is over. */
export type GuardedAction = 'poweroff' | 'pause';

/** A command as the guard is to start it. */
export interface GuardedCommand {
  readonly file: string;
  /** With `argv[0]`. */
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** The number that each of the descriptors has in the command, in the order in which they were sent. */
  readonly descriptors: readonly number[];
  /** The numbers of those that keep locks: the guard has them too, until nobody is left. */
  readonly locks: readonly number[];
  /** Soft limit of open files: a number, or none. Missing: as it is. */
  readonly openFilesSoft?: number | 'unlimited';
  readonly action: GuardedAction;
}

/** By pid and start time: a pid is given again. */
export interface NamedProcess {
  readonly pid: number;
  readonly startTime: number;
}

/** One that has something, or had it and has left it to others. */
export interface WitnessedProcess extends NamedProcess {
  /** Absolute path of a file that is locked by whoever has what it had, also where that is not below it any more. */
  readonly witness?: string;
}

export interface GuardedProcess extends WitnessedProcess {
  readonly action: GuardedAction;
}

export type GuardOrder =
  | ({ readonly do: 'start' } & GuardedCommand)
  /** SIGTERM to all, SIGKILL after `graceMs`, and before that when it is time to kill. */
  | { readonly do: 'stop'; readonly graceMs: number }
  | { readonly do: 'pause' }
  /** After `pause`: the lock is certain again, and so say the times in the page. */
  | { readonly do: 'resume' }
  /** The whole list, instead of the one before. `spared`: who is not to be stopped with one of them, though it is below it. */
  | {
      readonly do: 'processes';
      readonly processes: readonly GuardedProcess[];
      readonly spared?: readonly NamedProcess[];
    }
  /** Nothing is left to guard. */
  | { readonly do: 'end' };

export type GuardReport =
  | { readonly is: 'started'; readonly pid: number; readonly startTime: number }
  /** As Node's errors of `spawn` have them. */
  | { readonly is: 'not started'; readonly code: string; readonly message: string }
  /** The command itself; who it has started may be left. */
  | { readonly is: 'ended'; readonly status: number }
  | { readonly is: 'stopping' | 'pausing' | 'paused' | 'resumed' }
  /** The list is the one that counts. */
  | { readonly is: 'guarding'; readonly count: number }
  /** The watchdog device cannot be written to. */
  | { readonly is: 'not fed'; readonly message: string }
  /** Their time was over. */
  | { readonly is: 'killed' | 'stopped'; readonly pids: readonly number[] };

/** Puts lines together from what a pipe gives, and reads each. */
export class LineReader<Word> {
  #rest = '';

  read(text: string): readonly Word[] {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.map((line) => JSON.parse(line) as Word);
  }
}

export function lineOf(word: GuardOrder | GuardReport): string {
  return `${JSON.stringify(word)}\n`;
}

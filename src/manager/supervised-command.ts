/** A command as a supervisor starts it: with what Node changed at its own start given back, as far as a parent can. */
import type { LaunchState } from '../system/launch-state.js';
import { ignoredSignals } from '../system/signals.js';

export interface SupervisedCommand {
  readonly file: string;
  readonly argv: readonly [string, ...string[]];
  /** Those that the command is to have besides its locks: 0, 1, 2 and what was open for it. */
  readonly descriptors: readonly number[];
  /** The soft limit of open files that it is to have; missing: the one that this process has. */
  readonly openFilesSoft?: number | 'unlimited';
}

/** @param file what the first of `argv` stands for, see findCommand */
export function supervisedCommand(
  file: string,
  argv: readonly [string, ...string[]],
  launch: LaunchState | undefined,
): SupervisedCommand {
  const ignored = ignoredSignals(launch);
  const descriptors = [...new Set([0, 1, 2, ...(launch?.descriptors ?? [])])];
  return {
    ...(ignored.length === 0 ? { file, argv } : ignoring(ignored, file, argv)),
    descriptors,
    ...(launch === undefined ? {} : { openFilesSoft: launch.openFilesSoft ?? ('unlimited' as const) }),
  };
}

/** libuv gives a child the default of every signal, so what `nohup` said has to be said again, by a shell. */
function ignoring(
  signals: readonly number[],
  file: string,
  [, ...args]: readonly [string, ...string[]],
): { file: string; argv: readonly [string, ...string[]] } {
  const script = `trap '' ${signals.join(' ')}; exec "$@"`;
  return { file: '/bin/sh', argv: ['/bin/sh', '-c', script, 'sh', file, ...args] };
}

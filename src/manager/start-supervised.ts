/** Starts the command of a supervisor with what Node changed at its own start given back, as far as a parent can. */
import type { ChildProcess } from 'node:child_process';
import type { LaunchState } from '../system/launch-state.js';
import { withOpenFilesSoft } from '../system/limits.js';
import { ignoredSignals } from '../system/signals.js';
import type { Hold } from './hold.js';

/** @param file what `name` stands for, see findCommand */
export function startSupervised(
  hold: Hold,
  file: string,
  [name, ...args]: readonly [string, ...string[]],
  launch: LaunchState | undefined,
): ChildProcess {
  const stdio = inheritedStdio(launch?.descriptors ?? []);
  const ignored = ignoredSignals(launch);
  const start = (): ChildProcess => {
    if (ignored.length === 0) return hold.spawn(file, args, { stdio, argv0: name });
    // libuv gives a child the default of every signal, so what `nohup` said has to be said again, by a shell.
    const script = `trap '' ${ignored.join(' ')}; exec "$@"`;
    return hold.spawn('/bin/sh', ['-c', script, 'sh', file, ...args], { stdio });
  };
  return launch === undefined ? start() : withOpenFilesSoft(launch.openFilesSoft, start);
}

/** As `child_process.spawn` takes it; what it is told to ignore from 3 on, it leaves closed. */
function inheritedStdio(descriptors: readonly number[]): ('ignore' | number)[] {
  const numbers = new Set([0, 1, 2, ...descriptors]);
  return Array.from({ length: Math.max(...numbers) + 1 }, (_, fd) => (numbers.has(fd) ? fd : 'ignore'));
}

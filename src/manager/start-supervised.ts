/** Starts the command of a supervisor as its own child. */
import type { ChildProcess } from 'node:child_process';
import { withOpenFilesSoft } from '../system/limits.js';
import type { Hold } from './hold.js';
import type { SupervisedCommand } from './supervised-command.js';

export function startSupervised(hold: Hold, command: SupervisedCommand): ChildProcess {
  const { file, argv, openFilesSoft } = command;
  const [argv0, ...args] = argv;
  const stdio = inheritedStdio(command.descriptors);
  const start = (): ChildProcess => hold.spawn(file, args, { stdio, argv0 });
  if (openFilesSoft === undefined) return start();
  return withOpenFilesSoft(openFilesSoft === 'unlimited' ? undefined : openFilesSoft, start);
}

/** As `child_process.spawn` takes it; what it is told to ignore from 3 on, it leaves closed. */
function inheritedStdio(descriptors: readonly number[]): ('ignore' | number)[] {
  const numbers = new Set(descriptors);
  return Array.from({ length: Math.max(...numbers) + 1 }, (_, fd) => (numbers.has(fd) ? fd : 'ignore'));
}

/** Who is to be stopped for one on the list of a guard: its process, whoever keeps its witness, and all that is below those. */
import { lockKeepers } from '../system/lock-keepers.js';
import { allThreadsEnded, readProcessStat } from '../system/process.js';
import { belowSpared } from './below-spared.js';
import type { NamedProcess, WitnessedProcess } from './guard-words.js';

export interface StopTargets {
  /** Each is told to end. */
  readonly roots: readonly NamedProcess[];
  /** With `roots`: whoever may not run any more. */
  readonly all: readonly NamedProcess[];
}

export function stopTargets(
  { pid, startTime, witness }: WitnessedProcess,
  spared: readonly NamedProcess[],
): StopTargets {
  const owner = hasEnded({ pid, startTime }) ? [] : [{ pid, startTime }];
  const below = owner.flatMap((one) => belowSpared(one.pid, spared));
  const known = new Set([...owner, ...below, ...spared].map((one) => one.pid));
  const keepers = witness === undefined ? [] : lockKeepers(witness).filter((one) => !known.has(one.pid));
  const roots = [...owner, ...keepers];
  return { roots, all: [...roots, ...below, ...keepers.flatMap((one) => belowSpared(one.pid, spared))] };
}

export function hasEnded({ pid, startTime }: NamedProcess): boolean {
  const stat = readProcessStat(pid);
  return stat === undefined || stat.startTime !== startTime || allThreadsEnded(stat);
}

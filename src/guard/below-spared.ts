/**
 * Who is stopped with a process: all below it. A lock daemon can be below one that holds by it, a shell for instance that has
 * started both; it holds the locks of others too, so neither it nor what is below it is ever stopped with that.
 */
import { descendantsOf, type Descendant } from '../system/descendants.js';
import type { NamedProcess } from './guard-words.js';

/** Everything below `root`, but `spared` and what is below those. */
export function belowSpared(root: number, spared: readonly NamedProcess[]): readonly Descendant[] {
  const left = new Set<number>();
  // Level by level: a parent comes before its children.
  return descendantsOf(root).filter(({ pid, ppid, startTime }) => {
    const isSpared = spared.some((one) => one.pid === pid && one.startTime === startTime);
    if (isSpared || left.has(ppid)) left.add(pid);
    return !left.has(pid);
  });
}

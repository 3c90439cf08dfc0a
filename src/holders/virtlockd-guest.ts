/** virtlockd holds its locks for guests: where the guest is known, it is the holder, not the daemon. */
import type { Holder } from '../vocabulary.js';
import type { ProcessUse } from './process-holder.js';

/**
 * A holder for each use; virtlockd's own is put into those of the guests that write, if there are any.
 * `describe` makes a holder of one use.
 */
export function lendVirtlockd(uses: readonly ProcessUse[], describe: (use: ProcessUse) => Holder): Holder[] {
  const guests = uses.filter((use) => use.writes && use.process?.guest !== undefined);
  const daemons = uses.filter((use) => use.virtlockd);
  if (guests.length === 0 || daemons.length === 0) return uses.map(describe);
  const lent = daemons.map(describe);
  return uses
    .filter((use) => !daemons.includes(use))
    .map((use) => {
      const holder = describe(use);
      if (!guests.includes(use)) return holder;
      const mode = lent.find((each) => each.mode !== undefined)?.mode ?? holder.mode;
      return {
        ...holder,
        ...(mode === undefined ? {} : { mode }),
        through: [...new Set([...lent.flatMap((each) => each.through), ...holder.through])],
        evidence: [...holder.evidence, ...lent.flatMap((each) => each.evidence)],
      };
    });
}

/** virtlockd holds its locks for guests: where the guest is known, it is the holder, not the daemon. */
import { modes } from '../vocabulary.js';
import type { Holder } from '../vocabulary.js';
import type { ProcessUse } from './process-use.js';

/**
 * A holder for each use; virtlockd's own is put into those of the guests that write, if there are any.
 * @param describe makes a holder of one use
 * @param isWanted those for whom it is false are left out of the answer
 */
export function lendVirtlockd(
  uses: readonly ProcessUse[],
  describe: (use: ProcessUse) => Holder,
  isWanted: (use: ProcessUse) => boolean = () => true,
): Holder[] {
  const guests = uses.filter((use) => use.writes && use.process.guest !== undefined);
  const daemons = uses.filter((use) => use.virtlockd);
  if (guests.length === 0 || daemons.length === 0) return uses.filter(isWanted).map(describe);
  const lent = daemons.map(describe);
  return uses
    .filter((use) => !daemons.includes(use) && isWanted(use))
    .map((use) => {
      const holder = describe(use);
      if (!guests.includes(use)) return holder;
      const { refuses: _, ...own } = holder;
      const mode = lent.find((each) => each.mode !== undefined)?.mode ?? holder.mode;
      return {
        ...own,
        ...(mode === undefined ? {} : { mode }),
        through: [...new Set([...lent.flatMap((each) => each.through), ...holder.through])],
        evidence: [...holder.evidence, ...lent.flatMap((each) => each.evidence)],
        ...refusedByAny([holder, ...lent]),
      };
    });
}

/** Missing where one of them is not known: it may refuse more than the others. */
function refusedByAny(holders: readonly Holder[]): Pick<Holder, 'refuses'> {
  const known = holders.map(({ refuses }) => refuses);
  if (known.includes(undefined)) return {};
  return { refuses: modes.filter((asked) => known.some((refuses) => refuses?.includes(asked) === true)) };
}

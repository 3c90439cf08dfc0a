/** One walk over /proc for all that is asked in the same turn of the event loop: the walk is what costs. */

/** Answers with what was found for every call that shares the walk: the caller takes its own out of it. */
export type SharedWalk<Target, Found> = (root: string, targets: Iterable<Target>) => Promise<Found>;

export function sharedWalk<Target, Found>(
  walk: (root: string, targets: readonly Target[]) => Promise<Found>,
): SharedWalk<Target, Found> {
  /** Walks that have not begun, by root. */
  const next = new Map<string, { readonly targets: Set<Target>; readonly found: Promise<Found> }>();

  const plan = (root: string): { readonly targets: Set<Target>; readonly found: Promise<Found> } => {
    const targets = new Set<Target>();
    const begin = async (): Promise<Found> => {
      await new Promise(setImmediate);
      // Whoever asks from now on may ask for what was passed over already.
      next.delete(root);
      return walk(root, [...targets]);
    };
    const planned = { targets, found: begin() };
    next.set(root, planned);
    return planned;
  };

  return (root, targets) => {
    const planned = next.get(root) ?? plan(root);
    for (const target of targets) planned.targets.add(target);
    return planned.found;
  };
}

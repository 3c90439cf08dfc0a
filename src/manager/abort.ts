/** Giving up: one signal of two, and the error that it means. */
import { causeText, HoldfastError, isHoldfastError } from '../errors.js';

export interface JoinedSignal {
  readonly signal: AbortSignal;
  /** The work is over: the sources no longer refer to it. */
  readonly leave: () => void;
}

/**
 * A signal that is aborted with the first of two. Unlike `AbortSignal.any` it can be left: a manager lives
 * long, and every acquire would leave a dependant behind in its signal until the next collection.
 */
export function joinSignals(own: AbortSignal | undefined, other: AbortSignal): JoinedSignal {
  if (own === undefined) return { signal: other, leave: () => undefined };
  const joined = new AbortController();
  const leaves: (() => void)[] = [];
  for (const source of [own, other]) {
    if (source.aborted) {
      joined.abort(source.reason);
      break;
    }
    const follow = (): void => joined.abort(source.reason);
    source.addEventListener('abort', follow, { once: true });
    leaves.push(() => source.removeEventListener('abort', follow));
  }
  return { signal: joined.signal, leave: () => leaves.forEach((leave) => leave()) };
}

/** What is thrown when the caller gave up. */
export function aborted(signal: AbortSignal): HoldfastError {
  if (isHoldfastError(signal.reason)) return signal.reason;
  return new HoldfastError('ABORTED', `the caller gave up (${causeText(signal.reason)}); nothing is held`, {
    cause: signal.reason,
  });
}

/** What was granted after the caller gave up is given back: a lock that nobody waits for would stay for ever. */
export async function inTime<Acquired extends { undo(): Promise<void> }>(
  acquired: Acquired,
  signal: AbortSignal,
): Promise<Acquired> {
  if (!signal.aborted) return acquired;
  await acquired.undo();
  throw aborted(signal);
}

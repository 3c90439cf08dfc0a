/** Waiting for what is in use: asks again and again, at random intervals, until it is granted or the time is over. */
import { HoldfastError, isHoldfastError } from '../errors.js';
import type { ErrorCode } from '../vocabulary.js';
import { aborted, joinSignals } from './abort.js';
import type { LockOptions } from './lock-options.js';
import { monotonicMs } from '../system/clock.js';

/** Short at first, for a holder that is just ending; then seldom, for one that runs for days. */
const pauseMsMin = 20;
const pauseMsMax = 500;
const pauseGrowth = 1.5;

/** Even if a driver says at once that it is worth asking: one that is wrong must not take the whole processor. */
const earlyMs = 2;

/**
 * How often in a row a driver may say so at once and be believed. What it does not see (somebody writes without a lock) is still
 * in the way then, and each try looks through all of /proc.
 */
const hastyMax = 3;

/** Where drivers watch all that is waited for: as often all the same, in case that one of them misses something. */
const watchedMsMax = 10_000;

/** How often `onWait` is called and the holders are looked for anew, which reads all of /proc. */
const reportMs = 1_000;

/**
 * An engine that does not answer at the moment: while its leader is elected anew, or the network is mended. Who waits for the
 * guest of a dead host must not give up because the leader was on that host too.
 */
const passing: readonly ErrorCode[] = ['CLUSTER_UNREACHABLE', 'CLUSTER_NO_QUORUM'];

/** Of one wait for something to happen: whether drivers see all that matters, so that nobody has to ask meanwhile. */
export interface Watch {
  isComplete: boolean;
}

export type Attempt<Result> = (explain: boolean) => Promise<Result>;

/**
 * Runs `attempt` until it does not fail with a refusal. `explain` says whether a refusal should name the holders:
 * that is dear, and only the last, and for `onWait` the first and one a second until it says false, are shown to
 * anybody. `worthAsking` ends early what would else be a fixed pause, or a long one while its `watch` is complete.
 * Who was refused once goes on while the engine does not answer (`passing`): it is there, and its settings are right.
 * Throws the refusal (nobody waits), `TIMEOUT`, `ABORTED`, or what else the attempt throws.
 */
export async function waitFor<Result>(
  attempt: Attempt<Result>,
  { wait = false, onWait }: LockOptions,
  worthAsking: (over: AbortSignal, watch: Watch) => Promise<void>,
  signal: AbortSignal,
): Promise<Result> {
  const waitMs = wait === true ? Infinity : wait === false ? 0 : wait;
  const start = monotonicMs();
  let reported = -Infinity;
  let told = onWait === undefined;
  let pauseMs = pauseMsMin;
  let refused = false;
  let hasty = 0;
  for (;;) {
    const waitedMs = monotonicMs() - start;
    const last = waitedMs >= waitMs;
    const explain = last || (!told && waitedMs - reported >= reportMs);
    try {
      return await attempt(explain);
    } catch (error) {
      if (isHoldfastError(error, 'IN_USE')) {
        refused = true;
        if (last) throw waitMs > 0 ? timeout(error, waitMs) : error;
        if (explain) {
          reported = waitedMs;
          told = onWait?.({ refusal: error, waitedMs }) === false;
        }
      } else if (last || !refused || !isPassing(error)) throw error;
    }
    const leftMs = Math.max(1, waitMs - (monotonicMs() - start));
    const pausedMs = Math.min(pauseMs * (0.5 + Math.random()), leftMs);
    const saidAtOnce = await pause(pausedMs, leftMs, worthAsking, signal, hasty < hastyMax);
    hasty = saidAtOnce ? hasty + 1 : 0;
    pauseMs = Math.min(pauseMs * pauseGrowth, pauseMsMax);
  }
}

function timeout(refusal: HoldfastError, waitMs: number): HoldfastError {
  return new HoldfastError(
    'TIMEOUT',
    `${refusal.message}, and still was after ${Math.round(waitMs / 100) / 10} s`,
    {
      ...(refusal.resource === undefined ? {} : { resource: refusal.resource }),
      ...(refusal.mode === undefined ? {} : { mode: refusal.mode }),
      holders: refusal.holders,
      remedy: refusal.remedy,
      cause: refusal,
    },
  );
}

/**
 * Ends after `ms`, or later while all is watched, but not after `msMax`; or earlier if a driver says so and is `believed`.
 * Gives whether one has said so at once.
 */
async function pause(
  ms: number,
  msMax: number,
  worthAsking: (over: AbortSignal, watch: Watch) => Promise<void>,
  signal: AbortSignal,
  believed: boolean,
): Promise<boolean> {
  const start = monotonicMs();
  let saidAtOnce = false;
  const over = new AbortController();
  const { signal: either, leave } = joinSignals(signal, over.signal);
  try {
    const watch: Watch = { isComplete: false };
    const early = worthAsking(either, watch).then(
      () => {
        saidAtOnce = monotonicMs() - start < pauseMsMin;
        return timer(saidAtOnce && !believed ? ms : earlyMs, either);
      },
      (error: unknown) => {
        if (!isPassing(error)) throw error;
        return timer(ms, either);
      },
    );
    await Promise.race([unwatched(ms, Math.min(msMax, watchedMsMax), watch, either), early]);
  } finally {
    over.abort(); // Nobody goes on waiting in a driver's queue for a caller that has moved on.
    leave();
  }
  if (signal.aborted) throw aborted(signal);
  return saidAtOnce;
}

/** As soon after `ms` as it is not all watched. */
async function unwatched(ms: number, msMax: number, watch: Watch, over: AbortSignal): Promise<void> {
  const start = monotonicMs();
  do {
    const leftMs = msMax - (monotonicMs() - start);
    await timer(Math.max(1, Math.min(Math.max(ms, pauseMsMin), leftMs)), over);
  } while (watch.isComplete && !over.aborted && monotonicMs() - start < msMax);
}

function isPassing(error: unknown): boolean {
  return passing.some((code) => isHoldfastError(error, code));
}

function timer(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timeout);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timeout = setTimeout(end, ms);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

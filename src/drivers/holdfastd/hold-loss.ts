/**
 * Whether the daemon still has a hold. The end of a connection says nothing: the locks are kept while a daemon is started
 * again. A hold is lost when the daemon says so, or does not know of it any more; and when nobody listens on its socket
 * for longer than a restart takes, because its keeper, which had the locks, has ended as well.
 */
import type { DaemonClient } from '../../daemon-client/daemon-client.js';
import { isNobodyListening } from '../../daemon-client/api-request.js';
import type { ServerEvent } from '../../daemon-client/server-events.js';
import { causeText } from '../../errors.js';
import { monotonicMs } from '../../system/clock.js';
import type { Loss } from '../../vocabulary.js';

export interface LossWatch {
  /** Never rejects. */
  readonly lost: Promise<Loss>;
  readonly forget: () => void;
}

/** A command that takes the place of this process needs no watch, and would be started later for it. */
const beforeMs = 500;
const pauseMs = 500;
/** systemd starts a service again after 0.1 s, and a daemon of 10,000 locks serves after 2 s. */
const goneMsMax = 10_000;

/** Watches a hold until it is forgotten; keeps no process alive. */
export function lossOf(daemon: DaemonClient, id: string, resources: readonly string[]): LossWatch {
  const over = new AbortController();
  const lost = new Promise<Loss>((resolve) => {
    const start = (): void =>
      void watch(daemon, id, over.signal).then(
        (reason) => reason !== undefined && resolve({ reason, resources }),
      );
    const timer = setTimeout(start, beforeMs).unref();
    over.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
  return { lost, forget: () => over.abort() };
}

/** Why the hold is lost; undefined: it was forgotten. */
async function watch(daemon: DaemonClient, id: string, signal: AbortSignal): Promise<string | undefined> {
  let goneSince: number | undefined;
  while (!signal.aborted) {
    try {
      const events = await daemon.events(signal);
      goneSince = undefined;
      // Whatever was missed while nobody listened to it.
      const reason = await missing(daemon, id);
      if (reason !== undefined) return reason;
      for await (const event of events) {
        const said = lossIn(event, id);
        if (said !== undefined) return said;
      }
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!isNobodyListening(error)) goneSince = undefined;
      else goneSince ??= monotonicMs();
      if (goneSince !== undefined && monotonicMs() - goneSince > goneMsMax)
        return `${causeText(error)}; neither it nor its keeper runs any longer`;
    }
    await new Promise<void>((resolve) => void setTimeout(resolve, pauseMs).unref());
  }
  return undefined;
}

/** Why a hold is not there; undefined: it is. */
async function missing(daemon: DaemonClient, id: string): Promise<string | undefined> {
  const hold = await daemon.hold(id);
  if (hold === undefined) return 'the lock daemon does not know of the hold any more';
  return hold.lost;
}

function lossIn({ event, data }: ServerEvent, id: string): string | undefined {
  if (event !== 'lost' && event !== 'released') return undefined;
  const { hold, reason = 'it does not say why' } = JSON.parse(data) as {
    readonly hold?: string;
    readonly reason?: string;
  };
  if (hold !== id) return undefined;
  return event === 'lost' ? `the lock daemon lost it: ${reason}` : `the lock daemon gave it back: ${reason}`;
}

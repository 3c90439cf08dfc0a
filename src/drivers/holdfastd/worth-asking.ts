/** Waits for something to be given back at the daemon. What others hold beside it is not heard of; the manager asks now and then. */
import type { DaemonClient } from '../../daemon-client/daemon-client.js';
import type { ServerEvent } from '../../daemon-client/server-events.js';
import type { LockRequest } from '../../vocabulary.js';

/** @param isFree asked once it is listened, for what was given back before */
export async function untilWorthAsking(
  daemon: DaemonClient,
  requests: readonly LockRequest[],
  isFree: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const end = (): void => over.abort();
  if (signal.aborted) return;
  signal.addEventListener('abort', end, { once: true });
  try {
    const events = await daemon.events(over.signal);
    if (await isFree()) return;
    const wanted = new Set(requests.map(({ resource }) => resource.identity));
    for await (const event of events) if (frees(event, wanted)) return;
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', end);
    over.abort();
  }
}

interface Facts {
  /** Of libvirt's protocol: what happened. */
  readonly what?: string;
  readonly resources?: readonly { readonly identity?: string }[];
}

/** Whether something was given back that is, or may be, among what is wanted. */
function frees({ event, data }: ServerEvent, wanted: ReadonlySet<string>): boolean {
  const { what, resources = [] } = JSON.parse(data) as Facts;
  switch (event) {
    case 'released':
    case 'lost':
    case 'suspended':
      return resources.some(({ identity }) => identity !== undefined && wanted.has(identity));
    // What it says is what is left.
    case 'shrunk':
      return true;
    case 'lockd':
      return what === 'released' || what === 'owner ended';
    default:
      return false;
  }
}

/**
 * Gives a hold back to a daemon that cannot be asked now. Where the daemon and its keeper have ended nothing is locked; but
 * the next daemon takes up what it finds written, because the owner lives, and has to be told then.
 */
import type { DaemonClient } from '../../daemon-client/daemon-client.js';
import { isHoldfastError } from '../../errors.js';

const againMs = 1_000;

/** Returns when it is given back, or the daemon does not run: then it is told as soon as it does, while this process lives. */
export async function giveBack(daemon: DaemonClient, id: string): Promise<void> {
  await persistently(() => daemon.release(id));
}

/** What may have been granted although there was no answer. */
export async function giveBackByWitness(daemon: DaemonClient, witness: string): Promise<void> {
  await persistently(async () => {
    const hold = (await daemon.holds()).find((one) => one.witness === witness);
    if (hold !== undefined) await daemon.release(hold.id);
  });
}

async function persistently(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isHoldfastError(error, 'DRIVER_FAILED')) throw error;
    const again = (): void => void persistently(work).catch(() => undefined);
    setTimeout(again, againMs).unref();
  }
}

/** Waiting for what another process does: until it is so, and not for ever. */

const pollMs = 10;
/** Far more than anything here takes: who waits that long has failed. */
const waitMsMax = 20_000;

/** Returns when `isSo` says yes. Throws what it throws, or after a long time that `what` did not come about. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string | (() => string),
  waitMs: number = waitMsMax,
): Promise<void> {
  const start = performance.now();
  while (!(await isSo())) {
    if (performance.now() - start > waitMs) {
      throw new Error(`waited in vain for ${typeof what === 'string' ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

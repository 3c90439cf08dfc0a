/** A lock that is looked at all the time. */
import { lockOn } from './observed-lock.js';

/** Looks until it is told to stop; gives how often the disk was not locked. */
export function watchLock(disk: string): { stop(): Promise<number> } {
  let running = true;
  let free = 0;
  const over = (async () => {
    while (running) {
      if (lockOn(disk) === 'none') free++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  return {
    async stop() {
      running = false;
      await over;
      return free;
    },
  };
}

/** Whether the kernel has a block device for itself (open(2), O_EXCL on a block device without O_CREAT). */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { deviceName } from './inode.js';

/** Another program can be testing for a claim in the same moment, ours included. */
const claimTries = 4;
const claimPauseMs = 2;

/**
 * Whether the kernel has a block device claimed: mounted, in any namespace, or part of swap, md, device-mapper.
 * Undefined: it cannot be opened. The test itself claims the device for a few microseconds, so a second one, or
 * a mount in that moment, gets EBUSY: a claim is believed only after it stood for some milliseconds.
 */
export async function isClaimed(path: string, device: string): Promise<boolean | undefined> {
  for (let tries = 1; ; tries++) {
    const claimed = tryClaim(path, device);
    if (claimed !== true || tries === claimTries) return claimed;
    await new Promise((resolve) => setTimeout(resolve, claimPauseMs));
  }
}

function tryClaim(path: string, device: string): boolean | undefined {
  let fd: number | undefined;
  try {
    const stats = statSync(path, { bigint: true });
    if (!stats.isBlockDevice() || deviceName(stats.rdev) !== device) return undefined;
    // O_NONBLOCK: an optical drive would close its tray.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_EXCL);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EBUSY' ? true : undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

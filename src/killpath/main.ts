/**
 * The program that sanlock runs when it cannot renew a lockspace any more (sanlock_killpath): once for each connection, as the user who
 * started the daemon, 8 I/O timeouts after the last renewal. Who still holds leases 40 s later (`-g`) gets SIGKILL from sanlock, and
 * the watchdog resets the host if even that does not help.
 *
 * Arguments, as `drivers/sanlock/loss-program.ts` gives them, and the pid that registered, which sanlock adds:
 *   poweroff START LINK PID   nobody stays beside the command: it and all that it has started are ended
 *   pause START LINK PID      the same are paused, and then the leases are given back
 *   tell FD START INODE SOCKET PID
 *                             somebody does: a byte in that memory file of his tells him. Where he has it no longer (he was killed, has
 *                             become another program, or has handed the leases over), whoever has the connection is ended
 * LINK is the connection as /proc/PID/fd shows it, SOCKET its inode, INODE that of the file.
 *
 * Nothing here touches the storage: what it reads is /proc and its own program.
 */
import { argv, exit, stderr } from 'node:process';
import { noticeName } from '../drivers/sanlock/client-library.js';
import { raiseAboveOthers } from '../system/hardiness.js';
import { markMemoryFile } from '../system/memory-file.js';
import type { LeaseKeepers } from './lease-keepers.js';
import { pauseKeepers } from './pause-keepers.js';
import { stopKeepers } from './stop-keepers.js';

const failed = 1;

async function act([action, ...words]: readonly string[]): Promise<void> {
  const pid = numberFrom(words.at(-1));
  if (action === 'tell') {
    const [fd, startTime, inode = '', socket] = words;
    const name = noticeName;
    if (markMemoryFile({ pid, startTime: numberFrom(startTime), fd: numberFrom(fd), name, inode })) return;
    stderr.write(`holdfast: process ${pid} cannot be told: who has its leases is ended\n`);
    // Whose pid it is now is not known.
    await stopKeepers({ pid: 0, startTime: 0, link: `socket:[${numberFrom(socket)}]` });
    return;
  }
  const [startTime, link = ''] = words;
  const keepers: LeaseKeepers = { pid, startTime: numberFrom(startTime), link };
  if (action === 'poweroff') await stopKeepers(keepers);
  else if (action === 'pause') await pauseKeepers(keepers);
  else throw new RangeError(`no such action: ${action}`);
}

function numberFrom(text: string | undefined): number {
  if (!/^\d+$/.test(text ?? '')) throw new RangeError(`no number: ${text}`);
  return Number(text);
}

raiseAboveOthers();
act(argv.slice(2)).then(
  () => exit(0),
  (error: unknown) => {
    // sanlock's log, where it has one for its children.
    stderr.write(`holdfast: ${error instanceof Error ? error.message : String(error)}\n`);
    exit(failed);
  },
);

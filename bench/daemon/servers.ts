/** The two servers that are compared: a real virtlockd, and keeper and daemon as they run in holdfastd. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildLockd, startLockd, type Lockd } from '../../test/beds/lockd.js';
import { startVirtlockd } from '../../test/beds/virtlockd.js';
import { processorTimeNs } from './process-figures.js';

export interface Server {
  readonly name: string;
  readonly socket: string;
  /** Processor time of everything that serves, in nanoseconds. */
  processorTimeNs(): number;
  stop(): Promise<void>;
}

export async function realVirtlockd(folder: string): Promise<Server> {
  const server = await startVirtlockd(folder);
  const { pid, socket } = server;
  return {
    name: 'virtlockd',
    socket,
    processorTimeNs: () => processorTimeNs(pid),
    stop: () => server.stop(),
  };
}

export interface OurServer extends Server {
  readonly lockd: Lockd;
}

export async function ourServer(folder: string): Promise<OurServer> {
  const own = join(folder, 'holdfastd');
  mkdirSync(own, { mode: 0o700 });
  const lockd = await startLockd(await buildLockd(own), own);
  return {
    name: 'holdfastd',
    socket: lockd.socket,
    lockd,
    processorTimeNs: () => processorTimeNs(lockd.keeperPid) + processorTimeNs(lockd.daemonPid()),
    stop: () => lockd.stop(),
  };
}

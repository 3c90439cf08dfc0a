/** The two servers that are compared: a real virtlockd, and keeper and daemon as they run in holdfastd. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildLockd, startLockd, type Lockd } from '../../test/beds/lockd.js';
import { startVirtlockd } from '../../test/beds/virtlockd.js';
import { processorTimeNs } from './process-figures.js';

/** One for each connection of the largest run. */
const diskCount = 900;

export interface Server {
  readonly name: string;
  readonly socket: string;
  /** A folder of disks that only this one locks: what a run leaves locked, its server gives back a moment later. */
  readonly disks: string;
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
    disks: newDisks(folder, 'virtlockd-disks'),
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
    disks: newDisks(folder, 'holdfastd-disks'),
    lockd,
    processorTimeNs: () => processorTimeNs(lockd.keeperPid) + processorTimeNs(lockd.daemonPid()),
    stop: async () => lockd.stop(),
  };
}

function newDisks(folder: string, name: string): string {
  const disks = join(folder, name);
  mkdirSync(disks);
  for (let index = 0; index < diskCount; index++) writeFileSync(join(disks, `${index}`), '');
  return disks;
}

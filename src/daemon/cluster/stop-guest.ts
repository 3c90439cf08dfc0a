/** Stops a guest, or whoever has a hold of the API, whose lock is lost. The guard of the host does the same by itself; this comes first, and is kinder. */
import { constants } from 'node:os';
import type { GuaranteeTimes } from '../../driver/contract.js';
import { belowSpared } from '../../guard/below-spared.js';
import type { NamedProcess } from '../../guard/guard-words.js';
import type { LossAction } from '../../index.js';
import { boottimeMs } from '../../system/boot-clock.js';
import { knownStartTime, signalProcess } from '../../system/pidfd.js';
import { ownProcesses } from './own-processes.js';

/** Nobody but libvirt could start a guest again. */
export type GuestAction = Exclude<LossAction, 'restart'>;

const { SIGTERM, SIGKILL, SIGSTOP, SIGCONT } = constants.signals;
const killAgainMs = 100;

/** @param times of the grant; undefined: somebody else has what it had, and there is no time left. */
export function stopGuest(guest: NamedProcess, action: GuestAction, times: GuaranteeTimes | undefined): void {
  if (action === 'ignore' || ownProcesses().some(({ pid }) => pid === guest.pid)) return;
  if (action === 'pause') return signalAll(guest, SIGSTOP);
  if (times === undefined) return signalAll(guest, SIGKILL);
  signalProcess(guest.pid, guest.startTime, SIGTERM);
  signalProcess(guest.pid, guest.startTime, SIGCONT);
  const now = boottimeMs();
  const leftMs = Math.min(times.killAtMs - now, times.killAtMs - times.loseAtMs);
  setTimeout(() => kill(guest), Math.max(0, leftMs)).unref();
}

function kill(guest: NamedProcess): void {
  if (knownStartTime(guest.pid) !== guest.startTime) return;
  signalAll(guest, SIGKILL);
  setTimeout(() => kill(guest), killAgainMs).unref();
}

/** Those below are found while it lives. */
function signalAll(guest: NamedProcess, signal: number): void {
  if (knownStartTime(guest.pid) !== guest.startTime) return;
  const below = belowSpared(guest.pid, ownProcesses());
  signalProcess(guest.pid, guest.startTime, signal);
  for (const { pid, startTime } of below) signalProcess(pid, startTime, signal);
}

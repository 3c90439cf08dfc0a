/** Ends a guest, or whoever has a hold of the API, whose lock is lost. The guard of the host does the same by itself; this comes first, and is kinder. */
import { constants } from 'node:os';
import type { GuaranteeTimes } from '../../driver/contract.js';
import type { NamedProcess, WitnessedProcess } from '../../guard/guard-words.js';
import { stopTargets } from '../../guard/stop-targets.js';
import type { LossAction } from '../../index.js';
import { boottimeMs } from '../../system/boot-clock.js';
import { signalProcess } from '../../system/pidfd.js';
import { ownProcesses } from './own-processes.js';

/** Nobody but libvirt could start a guest again. */
export type GuestAction = Exclude<LossAction, 'restart'>;

const { SIGTERM, SIGKILL, SIGCONT } = constants.signals;
const killAgainMs = 100;

/** @param times of the grant; undefined: somebody else has what it had, and there is no time left. */
export function stopGuest(guest: WitnessedProcess, times: GuaranteeTimes | undefined): void {
  if (ownProcesses().some(({ pid }) => pid === guest.pid)) return;
  if (times === undefined) return kill(guest);
  const { roots } = stopTargets(guest, ownProcesses());
  signalEach(roots, SIGTERM);
  signalEach(roots, SIGCONT);
  const now = boottimeMs();
  const leftMs = Math.min(times.killAtMs - now, times.killAtMs - times.loseAtMs);
  setTimeout(() => kill(guest), Math.max(0, leftMs)).unref();
}

/** Those below are found while it lives. */
function kill(guest: WitnessedProcess): void {
  const { all } = stopTargets(guest, ownProcesses());
  if (all.length === 0) return;
  signalEach(all, SIGKILL);
  setTimeout(() => kill(guest), killAgainMs).unref();
}

function signalEach(processes: readonly NamedProcess[], signal: number): void {
  for (const { pid, startTime } of processes) signalProcess(pid, startTime, signal);
}

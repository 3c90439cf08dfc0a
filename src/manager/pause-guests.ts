/**
 * Pauses guests from within, where their QEMU can be told: it lets the guest's writes come to an end first, and the guest is
 * found as it was left. The process is stopped all the same afterwards: a QEMU whose guest is paused still writes for
 * block jobs, and does what the next one says who connects.
 */
import { resolve } from 'node:path';
import type { Guarantee } from '../driver/contract.js';
import { isQemuProgram } from '../holders/qemu-command-line.js';
import { qmpSocket } from '../holders/qemu-monitor.js';
import { boottimeMs } from '../system/boot-clock.js';
import { descendantsOf } from '../system/descendants.js';
import { readProcess } from '../system/process.js';
import { tellQemu } from './qmp-monitor.js';

/** A guest that takes longer to pause waits for its storage. */
const pauseMsMax = 1_000;

export interface PausedGuests {
  /** Those that were paused here go on. To be called when their processes have been let go on. */
  resume(): Promise<void>;
}

/** Those of all QEMUs below this process. */
export async function pauseGuests(guarantee: Guarantee | undefined): Promise<PausedGuests> {
  const leftMs = guarantee === undefined ? Infinity : guarantee.times.killAtMs - boottimeMs();
  const waitMs = Math.min(pauseMsMax, leftMs / 2);
  const sockets = waitMs <= 0 ? [] : descendantsOf(process.pid).flatMap(({ pid }) => qmpOf(pid));
  const told = await Promise.all(
    sockets.map(async (path) => ((await tellQemu(path, 'stop', waitMs)) ? [path] : [])),
  );
  return {
    resume: async () => {
      await Promise.all(told.flat().map((path) => tellQemu(path, 'cont', pauseMsMax)));
    },
  };
}

function qmpOf(pid: number): readonly string[] {
  const { comm, exe, argv = [] } = readProcess(pid) ?? {};
  const path = isQemuProgram(exe ?? comm ?? '') ? qmpSocket(argv) : undefined;
  // As the QEMU itself would find it.
  return path === undefined ? [] : [resolve(`/proc/${pid}/cwd`, path)];
}

/**
 * Whoever looks at a disk opens it for a moment, Holdfast itself too, and is none of its users: two that look at the same
 * time would name each other.
 */
import { basename } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isStillOpen } from '../system/open-files.js';
import { describeProcess } from './describe-process.js';
import type { ResourceFile } from './process-use.js';

/** A look has the disk open for less than a millisecond, if it is not kept waiting for the processor. */
const pausesMs = [5, 30];

/**
 * Without those who only read, have no lock, and have closed it by now. Waits only for those who may be looking: programs
 * of Node.
 */
export async function withoutPassing(files: readonly ResourceFile[]): Promise<readonly ResourceFile[]> {
  let left = files.filter((file) => !mayPass(file) || isStillOpen(file));
  for (const pauseMs of pausesMs) {
    if (!left.some(mayLook)) return left;
    await pause(pauseMs);
    left = left.filter((file) => !mayLook(file) || isStillOpen(file));
  }
  return left;
}

function mayPass({ access, locks, pid }: ResourceFile): boolean {
  return access === 'read' && locks.length === 0 && pid !== process.pid;
}

function mayLook(file: ResourceFile): boolean {
  if (!mayPass(file)) return false;
  const program = describeProcess(file.pid)?.program;
  return program === 'node' || program === basename(process.execPath);
}

/** Makes an owner of a description: which process, on which host. */
import { hostName, machineId } from '../system/host.js';
import { processStartTime } from '../system/process.js';
import type { Owner, OwnerDescription } from '../vocabulary.js';

let ownStartTime: number | undefined;

/** The owner as this process; the command that replaces it, or that it starts, holds in its name. */
export function ownerHere(description: OwnerDescription): Owner {
  ownStartTime ??= processStartTime(process.pid) ?? 0;
  return { ...description, pid: process.pid, startTime: ownStartTime, host: hostName(), hostId: machineId() };
}

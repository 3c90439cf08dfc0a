/** Makes an owner of a description: which process, on which host. */
import { hostName, machineId } from '../system/host.js';
import { processStartTime } from '../system/process.js';
import type { Owner, OwnerDescription } from '../vocabulary.js';
import type { OwnerProcess } from './lock-options.js';

type Here = Pick<Owner, 'pid' | 'startTime' | 'host' | 'hostId'>;

let here: Here | undefined;

/** The owner as this process, in whose name the command that replaces it, or that it starts, holds; or as another one here. */
export function ownerHere(description: OwnerDescription, other?: OwnerProcess): Owner {
  here ??= {
    pid: process.pid,
    startTime: processStartTime(process.pid) ?? 0,
    host: hostName(),
    hostId: machineId(),
  };
  return { ...description, ...here, ...other };
}

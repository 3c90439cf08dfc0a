/** A guest that runs, found by its uuid on the command line of its QEMU, whether anybody locked anything for it or not. */
import { describeProcess } from '../holders/find-holders.js';
import { processRemedy } from '../holders/process-holder.js';
import { processesNaming } from '../system/command-lines.js';
import type { Holder, Resource } from '../vocabulary.js';

const uuidOf = /^domain:(?<uuid>.+)$/;

/** The QEMUs of a resource of kind `domain`. They refuse nothing: only a lock on the uuid does. */
export function runningGuest({ identity }: Resource): {
  readonly holders: readonly Holder[];
  readonly unseen?: string;
} {
  const uuid = uuidOf.exec(identity)?.groups?.['uuid'];
  if (uuid === undefined) return { holders: [] };
  const { pids, hidden } = processesNaming(uuid);
  const holders = pids.flatMap((pid): Holder[] => {
    const process = describeProcess(pid);
    if (process?.uuid !== uuid) return [];
    const { program, startTime, guest, user, since } = process;
    return [
      {
        uuid,
        program,
        pid,
        startTime,
        ...(guest === undefined ? {} : { guest }),
        ...(user === undefined ? {} : { user }),
        host: 'this host',
        ...(since === undefined ? {} : { since }),
        refuses: [],
        through: ['it runs, without a lock on its uuid'],
        evidence: [`/proc/${pid}/cmdline: -uuid ${uuid}`],
        remedy: processRemedy(pid, process),
      },
    ];
  });
  return hidden ? { holders, unseen: 'the processes of other users (look as root)' } : { holders };
}

/** A record that a holder left, as a holder: who, on which host, and what to do about it. */
import { bootId, hostName, machineId } from '../../system/host.js';
import { processStartTime } from '../../system/process.js';
import { compatible, modes, unnamedCommand, type Holder } from '../../vocabulary.js';
import type { LivingRecord } from './left-records.js';

/** `file`: what the record stands on, for people. */
export function recordedHolder(record: LivingRecord, file: string): Holder {
  const { kind, name, uuid, pid, startTime, mode, since, host, attribute } = record;
  const here = isHere(record);
  // The path is the other host's own word for it, which may be another one than this host's.
  const look = `holdfast who ${quoted(record.path ?? file)}`;
  return {
    ...(kind === 'domain' ? { guest: name, uuid } : name === unnamedCommand ? {} : { name }),
    // Here it would be taken for a process of this space of pids, which it need not be; with a start time, always.
    ...(!here ? { pid } : processStartTime(pid) === startTime ? { pid, startTime } : {}),
    host: here ? 'this host' : host === hostName() ? `another host that is called ${host} too` : host,
    since,
    mode,
    refuses: modes.filter((asked) => !compatible(asked, mode)),
    through: ['Holdfast (fcntl)'],
    evidence: [`attribute ${attribute} of ${file}, whose witness is locked`, ...copiedIdWords(record)],
    remedy: here
      ? 'look for it in the containers of this host, or wait for it'
      : `on ${host}: ${look}, or wait for it`,
  };
}

/** The boot id is the kernel's: a container with a machine-id of its own is this host, a copy of this host is not. */
function isHere({ bootId: theirs, hostId }: LivingRecord): boolean {
  const ours = bootId();
  return ours === '' || theirs === '' ? hostId === machineId() : theirs === ours;
}

function copiedIdWords(record: LivingRecord): readonly string[] {
  if (isHere(record) || record.hostId !== machineId()) return [];
  return [
    `${record.host} runs another kernel and has the machine-id of this host: one was made from a copy of the other, and needs a machine-id of its own`,
  ];
}

/** For a POSIX shell. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

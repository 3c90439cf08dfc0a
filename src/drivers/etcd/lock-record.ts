/** What the value of a lock's key says of who has it, and what people are told of it. */
import { monotonicMs } from '../../system/clock.js';
import { machineId } from '../../system/host.js';
import { readProcessStat } from '../../system/process.js';
import type { Holder, LockRequest, Owner } from '../../vocabulary.js';
import type { KeyValue } from './client/messages.js';
import { leaseName, type LockKey } from './keys.js';

/** JSON. Fields are added, never changed; a reader ignores those that it does not know. */
export interface LockRecord {
  readonly kind: Owner['kind'];
  /** The guest's, or what the command is called. */
  readonly name: string;
  readonly uuid: string;
  readonly pid: number;
  readonly startTime: number;
  /** What runs as that pid, where it can be seen. */
  readonly program?: string;
  readonly host: string;
  readonly hostId: string;
  /** ISO 8601, to the second, UTC. */
  readonly since: string;
  readonly mode: string;
  /** The resource, as the holder wrote it. */
  readonly label: string;
  /** It was given back, and is kept for the same guest until then (ISO 8601). */
  readonly reservedUntil?: string;
  /** The name of the transaction that put it. */
  readonly holder: string;
}

/** More is no record of ours: labels are paths. */
const recordBytesMax = 64 * 1024;

/** Reading it from /proc takes a fifth of the time of a lock: who takes several in a row is asked for once. */
const programMsMax = 1_000;
let lastProgram: { pid: number; startTime: number; program: string | undefined; atMs: number } | undefined;

function programOf(pid: number, startTime: number): string | undefined {
  const atMs = monotonicMs();
  const known = lastProgram?.pid === pid && lastProgram.startTime === startTime ? lastProgram : undefined;
  if (known !== undefined && atMs - known.atMs < programMsMax) return known.program;
  const stat = readProcessStat(pid);
  const program = stat?.startTime === startTime ? stat.comm : undefined;
  lastProgram = { pid, startTime, program, atMs };
  return program;
}

/** What all locks of one grant have in common. */
export function ownerFields(
  owner: Owner,
  holder: string,
): Omit<LockRecord, 'mode' | 'label' | 'reservedUntil'> {
  const { kind, name, uuid, pid, startTime, host, hostId } = owner;
  const program = programOf(pid, startTime);
  const since = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  return {
    kind,
    name,
    uuid,
    pid,
    startTime,
    ...(program === undefined ? {} : { program }),
    host,
    hostId,
    since,
    holder,
  };
}

/** `common`: what `ownerFields` gave, as JSON; it is the same for all locks of a guest. */
export function recordText(common: string, { mode, resource }: LockRequest): string {
  return `${common.slice(0, -1)},"mode":"${mode}","label":${JSON.stringify(resource.label)}}`;
}

/** Undefined: it is no record of ours. Who reads it still knows that there is a lock. */
export function parseRecord(bytes: Buffer): LockRecord | undefined {
  if (bytes.length > recordBytesMax) return undefined;
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    const record = value as LockRecord;
    return typeof record?.uuid === 'string' && typeof record.host === 'string' ? record : undefined;
  } catch {
    return undefined;
  }
}

export function isOf(
  record: LockRecord | undefined,
  owner: Pick<Owner, 'uuid' | 'pid' | 'startTime' | 'hostId'>,
): boolean {
  return (
    record?.uuid === owner.uuid &&
    record.pid === owner.pid &&
    record.startTime === owner.startTime &&
    record.hostId === owner.hostId
  );
}

/** Who has a lock, or waits for it, for people. */
export function holderOf({ key, value, lease }: KeyValue, { mode }: LockKey): Holder {
  const record = parseRecord(value);
  const evidence = [`${key.toString('utf8')} in etcd, lease ${leaseName(lease)}`];
  const waits = mode === 'waiting';
  const how = { through: [waits ? 'the queue in etcd' : 'etcd'], evidence };
  if (record === undefined) return { ...(waits ? { does: ['waits for it'] } : { mode }), ...how };
  const { kind, name, uuid, pid, startTime, program, host, hostId, since, reservedUntil } = record;
  if (reservedUntil !== undefined)
    return { name: `a reservation for guest "${name}" until ${reservedUntil}`, uuid, ...how };
  return {
    ...(kind === 'domain' ? { guest: name } : { name }),
    uuid,
    ...(program === undefined ? {} : { program }),
    pid,
    startTime,
    host: hostId === machineId() ? 'this host' : host,
    since,
    ...(waits ? { does: ['waits for it'] } : { mode }),
    ...how,
  };
}

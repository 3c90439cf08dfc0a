/** Ends the locks of others, on an operator's word, which is kept in etcd. */
import { HoldfastError } from '../../errors.js';
import { hostName } from '../../system/host.js';
import { randomHex } from '../../system/random.js';
import type { BreakProof } from '../../driver/contract.js';
import type { Resource } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import type { Connection } from './connection.js';
import { clusterIdentity } from './keys.js';
import { requireBreakable } from './may-break.js';
import { parseRecord } from './lock-record.js';
import { isMissing, isUnchanged, tooMany } from './lock-transaction.js';

/** Between the look and the transaction others can come and go. */
const roundsMax = 5;

/** What is kept of a lock that was broken. */
interface BreakRecord {
  readonly evidence: string;
  readonly identity: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly byHost: string;
  readonly byPid: number;
  /** The values of the keys that were deleted, and the keys of those that had none of ours. */
  readonly holders: readonly unknown[];
}

/** Nobody holds it: nothing happens. Throws `USAGE` without evidence, `IN_USE` without the proof that is asked for, `CLUSTER_...`. */
export async function breakLock(
  connection: Connection,
  resource: Resource,
  evidence: string,
  proof?: BreakProof,
): Promise<void> {
  if (evidence.trim() === '') {
    throw new HoldfastError('USAGE', `${resource.label}: a lock is broken on evidence only`, {
      resource: resource.label,
      remedy:
        'Say how it is known that its holder does not run any more (`the host was switched off at 12:05`).',
    });
  }
  const { keys, settings } = connection;
  const identity = clusterIdentity(resource, connection.hostId);
  // One name for all rounds: where an answer is missing, its key tells whether it was done, and who has the lock since is not meant.
  const entry = keys.break(identity, randomHex(8));
  try {
    const client = await connection.client();
    for (let round = 0; round < roundsMax; round++) {
      const { kvs } = await client.range(keys.held(identity));
      if (kvs.length === 0) return;
      if (proof !== undefined) await requireBreakable(connection, client, resource, kvs, proof.deadHost);
      if (kvs.length + 1 > settings.maxOperations) throw tooMany(kvs.length + 1, settings.maxOperations);
      const record: BreakRecord = {
        evidence,
        identity,
        at: new Date().toISOString(),
        byHost: hostName(),
        byPid: process.pid,
        holders: kvs.map(({ key, value }) => parseRecord(value) ?? key.toString('utf8')),
      };
      const { succeeded, responses } = await client.idempotentTxn({
        compare: [
          isMissing(entry),
          ...kvs.map(({ key, modRevision }) => isUnchanged(key.toString('utf8'), modRevision)),
        ],
        success: [
          ...kvs.map(({ key }) => ({ delete: { key: key.toString('utf8') } })),
          { put: { key: entry, value: JSON.stringify(record) } },
        ],
        failure: [{ range: { key: entry } }],
      });
      if (succeeded || (responses[0]?.range?.kvs.length ?? 0) > 0) return;
    }
  } catch (error) {
    throw asClusterError(error, `the lock of ${resource.label} could not be broken`);
  }
  throw new HoldfastError('IN_USE', `${resource.label} changes hands all the time`, {
    resource: resource.label,
  });
}

/** The evidence on which a lock was broken in that revision; undefined: it was not, or that cannot be seen. */
export async function brokenBecause(
  connection: Connection,
  identity: string,
  revision: number,
): Promise<string | undefined> {
  try {
    const { kvs } = await (await connection.client()).range(connection.keys.breaks(identity));
    const entry = kvs.find(({ modRevision }) => modRevision === revision);
    if (entry === undefined) return undefined;
    const { evidence } = JSON.parse(entry.value.toString('utf8')) as Partial<BreakRecord>;
    return typeof evidence === 'string' ? evidence : undefined;
  } catch {
    // Who lost a lock is told so, with this reason or without.
    return undefined;
  }
}

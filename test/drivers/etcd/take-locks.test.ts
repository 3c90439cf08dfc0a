/** What becomes of a transaction that was not answered. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EtcdFailure, grpcStatus } from '../../../src/drivers/etcd/client/etcd-failure.js';
import type { Connection } from '../../../src/drivers/etcd/connection.js';
import { Keys } from '../../../src/drivers/etcd/keys.js';
import type { Session } from '../../../src/drivers/etcd/session/open-session.js';
import { takeLocks } from '../../../src/drivers/etcd/take-locks.js';
import type { Owner } from '../../../src/vocabulary.js';

const failure = (outcome: 'refused' | 'unknown', status: number, message: string): EtcdFailure =>
  new EtcdFailure(outcome, status, 'http://one', message);
const noAnswer = failure('unknown', grpcStatus.unavailable, 'no answer');

const owner: Owner = {
  ...{ kind: 'domain', name: 'web1', uuid: '66666666-2222-4333-8444-555555555555', pid: 1, startTime: 1 },
  ...{ host: 'h', hostId: 'a'.repeat(32) },
};
const resource = { kind: 'disk', identity: 'i', label: 'i', storage: 'network', scope: 'cluster' } as const;
const order = {
  owner,
  wanted: [{ request: { resource, mode: 'exclusive' as const }, identity: 'i' }],
  turn: () => 'nobody waits' as const,
};

/** A connection on which the locks are not answered, and what is asked next fails so; and what it has still to do. */
function unanswered(next: EtcdFailure): { readonly connection: Connection; readonly chores: unknown[] } {
  const chores: unknown[] = [];
  const client = {
    txn: () => Promise.reject(noAnswer),
    idempotentTxn: () => Promise.reject(next),
  };
  const connection = {
    settings: { maxOperations: 128 },
    keys: new Keys('holdfast'),
    newHolder: () => '1.1',
    client: () => Promise.resolve(client),
    untilDone: (_session: unknown, chore: unknown) => chores.push(chore),
  } as unknown as Connection;
  return { connection, chores };
}

const session = { leaseId: 1n } as Session;

test('a lease that is gone by then is told as that: another session can take the locks', async () => {
  const gone = failure('refused', grpcStatus.notFound, 'etcdserver: requested lease not found');
  const { connection, chores } = unanswered(gone);
  await assert.rejects(takeLocks(connection, session, order), (error) => error === gone);
  assert.equal(chores.length, 0);
});

test('as long as etcd does not answer it is an error, and it is gone on with until it does', async () => {
  const { connection, chores } = unanswered(noAnswer);
  await assert.rejects(takeLocks(connection, session, order), { code: /^CLUSTER_/ });
  assert.equal(chores.length, 1);
});

/** The client against real servers: transactions, leases, watches, and what is said when something is wrong. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { EtcdClientOptions } from '../../../../src/drivers/etcd/client/endpoint.js';
import { EtcdClient } from '../../../../src/drivers/etcd/client/etcd-client.js';
import {
  asClusterError,
  EtcdFailure,
  etcdFailure,
  grpcStatus,
} from '../../../../src/drivers/etcd/client/etcd-failure.js';
import { compareResult, compareTarget } from '../../../../src/drivers/etcd/client/messages.js';
import { isHoldfastError } from '../../../../src/errors.js';
import type { ErrorCode } from '../../../../src/vocabulary.js';
import { startEtcd, type EtcdBedOptions, type EtcdCluster } from '../../../beds/etcd.js';
import { privateRuntime } from '../../../beds/private-folder.js';
import { until } from '../../../beds/until.js';
import { needs } from '../../../needs.js';

const folder = privateRuntime();
let beds = 0;

async function bed(t: TestContext, options: EtcdBedOptions = {}): Promise<EtcdCluster> {
  const cluster = await startEtcd(join(folder, `bed-${++beds}`), options);
  t.after(() => cluster.stop());
  return cluster;
}

async function codeOf(call: Promise<unknown>): Promise<ErrorCode> {
  const error = await call.then(
    () => assert.fail('it had to fail'),
    (thrown: unknown) => asClusterError(thrown, 'the test'),
  );
  assert.ok(isHoldfastError(error), String(error));
  assert.notEqual(error.remedy, '');
  return error.code;
}

async function openClient(t: TestContext, options: Partial<EtcdClientOptions>): Promise<EtcdClient> {
  const client = await EtcdClient.open({ endpoints: [], callMs: 1_500, ...options });
  t.after(() => client.close());
  return client;
}

test('transactions and ranges', async (t) => {
  if (!needs(t, 'etcd')) return;
  const client = await (await bed(t)).client();
  const free = {
    result: compareResult.equal,
    target: compareTarget.version,
    key: 'a/',
    rangeEnd: 'a0',
    version: 0,
  };
  const put = { compare: [free], success: [{ put: { key: 'a/1', value: 'one' } }], failure: [] };
  const first = await client.txn(put);
  assert.equal(first.succeeded, true);
  const again = await client.txn({ ...put, failure: [{ range: { key: 'a/', rangeEnd: 'a0' } }] });
  assert.equal(again.succeeded, false);
  const [found] = again.responses[0]?.range?.kvs ?? [];
  assert.equal(found?.value.toString(), 'one');
  assert.equal(found?.createRevision, first.header?.revision);
  assert.ok((first.header?.clusterId ?? 0n) > 0n);
  const { kvs, count } = await client.range({ key: 'a/', rangeEnd: 'a0', keysOnly: true });
  assert.deepEqual([kvs[0]?.key.toString(), kvs[0]?.value.length, count], ['a/1', 0, 1]);
  assert.match((await client.status()).version, /^3\./);
});

test('a lease is granted, renewed, and its keys go with it', async (t) => {
  if (!needs(t, 'etcd')) return;
  const client = await (await bed(t)).client();
  const { id, ttl } = await client.leaseGrant(30);
  assert.equal(ttl, 30);
  await client.put({ key: 'k', value: 'v', lease: id });
  assert.equal((await client.leaseKeepAlive(id)).ttl, 30);
  await client.leaseRevoke(id);
  await client.leaseRevoke(id);
  assert.equal((await client.range({ key: 'k' })).count, 0);
  assert.equal((await client.leaseKeepAlive(id)).ttl, 0);
  assert.ok((await client.leaseTimeToLive(id)).ttl <= 0);
  await assert.rejects(
    client.put({ key: 'k', value: 'v', lease: id }),
    (error) => error instanceof EtcdFailure && error.leaseGone && error.outcome === 'refused',
  );
});

test('watches miss nothing over the end of their server, and know what was compacted', async (t) => {
  if (!needs(t, 'etcd')) return;
  const cluster = await bed(t);
  const client = await cluster.client();
  const seen: string[] = [];
  const gaps: number[] = [];
  const revision = (await client.put({ key: 'w/0', value: '' })).header?.revision ?? 0;
  const stop = client.watch(
    { key: 'w/', rangeEnd: 'w0', startRevision: revision },
    {
      onPut: ({ key }) => seen.push(key.toString()),
      onDelete: (key) => seen.push(`-${key}`),
      onGap: (at) => gaps.push(at),
    },
  );
  await client.put({ key: 'w/1', value: '' });
  await until(async () => seen.length === 2, 'two events');
  const [member] = cluster.members;
  await member?.kill();
  await member?.start();
  await until(
    () =>
      client.put({ key: 'w/2', value: '' }).then(
        () => true,
        () => false,
      ),
    'etcd is back',
  );
  await client.txn({ compare: [], success: [{ delete: { key: 'w/0' } }], failure: [] });
  await until(async () => seen.length === 4, 'the events after the restart');
  assert.deepEqual(seen, ['w/0', 'w/1', 'w/2', '-w/0']);
  stop();

  const now = (await client.range({ key: 'w/1' })).header?.revision ?? 0;
  execFileSync('etcdctl', ['--endpoints', cluster.endpoints.join(','), 'compact', String(now)], {
    env: { PATH: process.env['PATH'], ETCDCTL_API: '3' },
  });
  client.watch({ key: 'w/', rangeEnd: 'w0', startRevision: revision }, { onGap: (at) => gaps.push(at) });
  await until(async () => gaps.length > 0, 'the gap to be told');
});

test('a server that is gone: the next one is asked, and a transaction that may have been done is not done again', async (t) => {
  if (!needs(t, 'etcd')) return;
  const cluster = await bed(t, { size: 3 });
  const client = await cluster.client({ callMs: 1_500 });
  const gone = cluster.members[client.endpoint];
  await client.range({ key: 'k' });
  gone?.signal('SIGSTOP');
  t.after(() => gone?.signal('SIGCONT'));
  const put = { compare: [], success: [{ put: { key: 'k', value: '1' } }], failure: [] };
  await assert.rejects(
    client.txn(put),
    (error) => error instanceof EtcdFailure && error.outcome === 'unknown',
  );
  await until(
    () =>
      client.txn(put).then(
        ({ succeeded }) => succeeded,
        () => false,
      ),
    'the others decide',
  );
  assert.equal((await client.range({ key: 'k' })).count, 1);
});

test('nobody listens', async (t) => {
  const client = await openClient(t, { endpoints: ['http://127.0.0.1:1', 'http://127.0.0.1:2'] });
  assert.equal(await codeOf(client.range({ key: 'k' })), 'CLUSTER_UNREACHABLE');
  const named = await openClient(t, { endpoints: ['http://no-such-host.invalid:2379'] });
  assert.equal(await codeOf(named.range({ key: 'k' })), 'CLUSTER_UNREACHABLE');
});

test('no majority', async (t) => {
  if (!needs(t, 'etcd')) return;
  const cluster = await bed(t, { size: 3 });
  const client = await cluster.client({ callMs: 1_500 });
  const [, second, third] = cluster.members;
  await second?.kill();
  await third?.kill();
  assert.equal(await codeOf(client.range({ key: 'k' })), 'CLUSTER_NO_QUORUM');
});

test('etcd itself ends a call that it cannot decide, a moment before the call ends here', async () => {
  const told = etcdFailure(grpcStatus.unknown, 'context deadline exceeded', 'http://127.0.0.1:2379');
  assert.equal(await codeOf(Promise.reject(told)), 'CLUSTER_NO_QUORUM');
});

test('of a call that etcd ends with the status of its time limit nobody knows what became of it', async () => {
  const outcomeOf = (details: string): string =>
    etcdFailure(grpcStatus.deadlineExceeded, details, 'http://127.0.0.1:2379').outcome;
  assert.equal(outcomeOf('context deadline exceeded'), 'unknown');
  assert.equal(
    outcomeOf('Deadline exceeded after 1.000s,LB pick: 0.001s,remote_addr=127.0.0.1:2379'),
    'unknown',
  );
  assert.equal(outcomeOf('Deadline exceeded after 1.000s,Waiting for LB pick'), 'not sent');
  const told = etcdFailure(grpcStatus.deadlineExceeded, 'context deadline exceeded', 'http://127.0.0.1:2379');
  assert.equal(await codeOf(Promise.reject(told)), 'CLUSTER_NO_QUORUM');
});

test('more than etcd takes', async (t) => {
  if (!needs(t, 'etcd')) return;
  const client = await (await bed(t)).client();
  const success = Array.from({ length: 129 }, (_, n) => ({ put: { key: `k${n}`, value: '' } }));
  assert.equal(await codeOf(client.txn({ compare: [], success, failure: [] })), 'CLUSTER_LIMIT');
  const large = client.put({ key: 'k', value: 'x'.repeat(2 * 1024 * 1024) });
  assert.equal(await codeOf(large), 'CLUSTER_LIMIT');
});

test('no space', async (t) => {
  if (!needs(t, 'etcd')) return;
  const client = await (await bed(t, { arguments: ['--quota-backend-bytes', '100000'] })).client();
  const fill = async (): Promise<void> => {
    // The quota is compared with what is on the disk, some 100 ms later.
    for (let n = 0; n < 2_000; n++) await client.put({ key: `k${n % 20}`, value: 'x'.repeat(50_000) });
  };
  assert.equal(await codeOf(fill()), 'CLUSTER_NO_SPACE');
});

test('user and password, and a token that has become old', async (t) => {
  if (!needs(t, 'etcd')) return;
  const cluster = await bed(t, { arguments: ['--auth-token', 'simple', '--auth-token-ttl', '2'] });
  const etcdctl = (...words: string[]): void => {
    const options = ['--endpoints', cluster.endpoints.join(',')];
    const environment = { PATH: process.env['PATH'], ETCDCTL_API: '3' };
    execFileSync('etcdctl', [...options, ...words], { env: environment });
  };
  etcdctl('user', 'add', 'root:secret');
  etcdctl('user', 'grant-role', 'root', 'root');
  etcdctl('role', 'add', 'locks');
  etcdctl('role', 'grant-permission', 'locks', 'readwrite', 'h/', 'h0');
  etcdctl('user', 'add', 'host:word');
  etcdctl('user', 'grant-role', 'host', 'locks');
  etcdctl('auth', 'enable');
  const client = await cluster.client({ user: { name: 'host', password: 'word' } });
  await client.put({ key: 'h/1', value: '' });
  assert.equal(await codeOf(client.put({ key: 'other', value: '' })), 'CLUSTER_AUTH');
  const stranger = await cluster.client({ user: { name: 'host', password: 'wrong' } });
  assert.equal(await codeOf(stranger.range({ key: 'h/1' })), 'CLUSTER_AUTH');
  const nobody = await cluster.client();
  assert.equal(await codeOf(nobody.range({ key: 'h/1' })), 'CLUSTER_AUTH');
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  assert.equal((await client.range({ key: 'h/1' })).count, 1);
});

test('TLS with certificates of both sides', async (t) => {
  if (!needs(t, 'etcd', 'openssl')) return;
  const keys = join(folder, 'tls');
  const openssl = (...words: string[]): void => {
    execFileSync('openssl', words, { cwd: keys, stdio: ['ignore', 'ignore', 'pipe'] });
  };
  execFileSync('mkdir', ['-p', keys]);
  writeFileSync(join(keys, 'names'), 'subjectAltName=IP:127.0.0.1\n');
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  for (const ca of ['ca', 'other-ca']) {
    openssl('req', '-x509', ...newKey, '-subj', `/CN=${ca}`, '-keyout', `${ca}.key`, '-out', `${ca}.pem`);
  }
  for (const who of ['server', 'client']) {
    openssl('req', ...newKey, '-subj', `/CN=${who}`, '-keyout', `${who}.key`, '-out', `${who}.csr`);
    openssl(
      ...['x509', '-req', '-in', `${who}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'],
      ...['-extfile', 'names', '-out', `${who}.pem`],
    );
  }
  const at = (name: string): string => join(keys, name);
  const text = (name: string): string => readFileSync(at(name), 'utf8');
  const mine = { ca: text('ca.pem'), cert: text('client.pem'), key: text('client.key') };
  const cluster = await bed(t, {
    scheme: 'https',
    arguments: [
      ...['--cert-file', at('server.pem'), '--key-file', at('server.key')],
      ...['--trusted-ca-file', at('ca.pem'), '--client-cert-auth'],
    ],
    readiness: mine,
  });
  const client = await cluster.client(mine);
  assert.equal((await client.range({ key: 'k' })).count, 0);
  const distrustful = await cluster.client({ ...mine, ca: text('other-ca.pem') });
  assert.equal(await codeOf(distrustful.range({ key: 'k' })), 'CLUSTER_TLS');
  const unknown = await cluster.client({ ca: mine.ca, callMs: 1_000 });
  assert.ok(['CLUSTER_TLS', 'CLUSTER_UNREACHABLE'].includes(await codeOf(unknown.range({ key: 'k' }))));
  await assert.rejects(
    EtcdClient.open({ endpoints: cluster.endpoints, callMs: 1_000, ca: mine.ca, cert: 'none', key: 'none' }),
    (error) => isHoldfastError(error, 'CONFIG'),
  );
});

/**
 * Many hosts in one process, as one etcd sees them: of each a lease and a session that are renewed as often as the driver does it and
 * with the same calls, over a connection of their own; locks that are taken with the driver's transactions, and a watch on each,
 * over another connection. `crowd.ts` starts it; it ends with its standard input.
 */
import { setTimeout as pause } from 'node:timers/promises';
import * as m from '../../src/drivers/etcd/client/messages.js';
import { readEtcdSettings } from '../../src/drivers/etcd/etcd-settings.js';
import { holderInKey, Keys } from '../../src/drivers/etcd/keys.js';
import { ownerFields, recordText } from '../../src/drivers/etcd/lock-record.js';
import { guard, lockTransaction } from '../../src/drivers/etcd/lock-transaction.js';
import { boottimeMs } from '../../src/system/boot-clock.js';
import { BareConnection, type BareStream } from './bare-connection.js';
import { simulatedGuest } from './simulated-guest.js';

/** What is said on standard output, one JSON value a line. */
export type CrowdWord = { readonly is: 'holding' } | { readonly is: 'wrong'; readonly what: string };

const txn = { path: '/etcdserverpb.KV/Txn', request: m.txnRequest, response: m.txnResponse };
const range = { path: '/etcdserverpb.KV/Range', request: m.rangeRequest, response: m.rangeResponse };
const watch = { path: '/etcdserverpb.Watch/Watch', request: m.watchRequest, response: m.watchResponse };
const grant = {
  path: '/etcdserverpb.Lease/LeaseGrant',
  request: m.leaseGrantRequest,
  response: m.leaseResponse,
};
const keepAlive = {
  path: '/etcdserverpb.Lease/LeaseKeepAlive',
  request: m.leaseRequest,
  response: m.leaseResponse,
};

const [endpoint = '', hosts = '0', locks = '0'] = process.argv.slice(2);
const disksOfGuest = 4;
/** That etcd commits in one go. */
const hostsAtOnce = 20;
/** As long as what the driver writes of a session. */
const markValue = 'x'.repeat(200);

const { timings, maxOperations, prefix } = readEtcdSettings({ endpoints: [endpoint] });
const keys = new Keys(prefix);

function say(word: CrowdWord): void {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

function wrong(what: string): void {
  say({ is: 'wrong', what });
}

interface Host {
  readonly lease: bigint;
  readonly connection: BareConnection;
  readonly watches: BareStream<m.WatchRequest>;
  watched: number;
}

async function startHost(): Promise<Host> {
  const [connection, renewing] = [new BareConnection(endpoint), new BareConnection(endpoint)];
  const { id: lease } = await connection.call(grant, { ttl: timings.ttlMs / 1_000 });
  const key = keys.session(lease);
  const marked = await renewing.call(txn, {
    compare: [],
    success: [{ put: { key, value: markValue, lease } }],
    failure: [],
  });
  const over = (): void => wrong('a watch has ended');
  const onEvents = ({ events }: m.WatchResponse): void => {
    if (events.length > 0) wrong('a lock or a session was touched');
  };
  const startRevision = (marked.header?.revision ?? 0) + 1;
  renewing.stream(watch, onEvents, over).write({ create: { key, startRevision, watchId: 1 } });
  void renew(renewing, lease);
  return { lease, connection, watches: connection.stream(watch, onEvents, over), watched: 0 };
}

/** A renewal on a stream of its own, and a linearizable read after its answer. */
async function renew(connection: BareConnection, lease: bigint): Promise<void> {
  let confirmedAtMs = boottimeMs();
  let over = false;
  const deadline = setInterval(() => {
    if (boottimeMs() - confirmedAtMs < timings.renewDeadlineMs || over) return;
    over = true;
    wrong('a session was not renewed in time');
  }, timings.renewIntervalMs);
  for (let dueMs = boottimeMs(); !over;) {
    dueMs += timings.renewIntervalMs;
    await pause(Math.max(0, dueMs - boottimeMs()));
    const sentAtMs = boottimeMs();
    const ttl = await new Promise<number>((resolve) => {
      const stream = connection.stream(
        keepAlive,
        (answer) => {
          stream.cancel();
          resolve(answer.ttl);
        },
        () => resolve(0),
      );
      stream.write({ id: lease });
    });
    const { kvs } = await connection.call(range, { key: keys.session(lease), keysOnly: true });
    if (ttl > 0 && kvs.length === 1) confirmedAtMs = sentAtMs;
  }
  clearInterval(deadline);
}

/** @param number of the guest on its host. */
async function startGuest(host: Host, number: number): Promise<void> {
  const { lease, connection, watches } = host;
  const { owner, requests } = simulatedGuest(disksOfGuest);
  const wanted = requests.map((request) => ({ request, identity: request.resource.identity }));
  const holder = `${lease.toString(16)}.${number.toString(16)}`;
  const common = JSON.stringify(ownerFields(owner, holder));
  const placed = wanted.map(({ request, identity }) => ({
    request,
    key: keys.lock({ identity, mode: request.mode, holder: holderInKey(request.mode, holder) }),
  }));
  const order = {
    wanted,
    guards: wanted.map((one) => guard(keys, one, 'nobody waits')),
    puts: placed.map(({ key, request }) => ({ put: { key, value: recordText(common, request), lease } })),
    also: [],
    besides: [],
  };
  const { succeeded, header } = await connection.call(txn, lockTransaction(order, maxOperations));
  if (!succeeded || header === undefined) return wrong('a lock that nobody has was refused');
  for (const { key } of placed) {
    watches.write({ create: { key, startRevision: header.revision + 1, watchId: ++host.watched } });
  }
}

process.stdin.on('end', () => process.exit(0)).resume();
const guestsOfHost = Math.ceil(Number(locks) / Number(hosts) / (disksOfGuest + 1));
let started = 0;
await Promise.all(
  Array.from({ length: hostsAtOnce }, async () => {
    while (started++ < Number(hosts)) {
      const host = await startHost();
      for (let guest = 0; guest < guestsOfHost;) {
        // One that is not answered, because all come at once, has what nobody else asks for: the next one is another.
        await startGuest(host, guest).then(
          () => guest++,
          () => pause(timings.renewIntervalMs),
        );
      }
    }
  }),
);
say({ is: 'holding' });

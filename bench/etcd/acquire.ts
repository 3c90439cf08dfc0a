/**
 * Acquire of a guest with some disks against a bare put of one key, through the same client to the same etcd; and against a bare
 * transaction that compares and writes as many keys, which is what etcd itself takes for it.
 */
import etcdDriver from '../../src/drivers/etcd/etcd.js';
import type { EtcdClient } from '../../src/drivers/etcd/client/etcd-client.js';
import type { TxnRequest } from '../../src/drivers/etcd/client/messages.js';
import type { Grant } from '../../src/driver/contract.js';
import { isEmpty } from '../../src/drivers/etcd/lock-transaction.js';
import { median } from '../measure.js';
import { simulatedGuest } from './simulated-guest.js';

const diskCounts = [1, 4, 16];
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 40);
/** Calls in a row of each kind; then it is the other's turn, so that a machine whose speed drifts does it to both. */
const calls = 10;
const leaseSeconds = 600;

export interface AcquireFigure {
  readonly disks: number;
  /** Milliseconds, medians of single calls. */
  readonly acquire: number;
  readonly transaction: number;
  readonly put: number;
}

/** As long as the record of a lock. */
const value = 'x'.repeat(300);

/** As many ranges that have to be empty as the guest has locks, and as many keys under a lease. */
function sameShape(locks: number, lease: bigint, call: number): TxnRequest {
  const ranges = Array.from({ length: locks }, (_, n) => `bench/${call}/net:rbd:pool/${'0'.repeat(36)}-${n}`);
  return {
    compare: ranges.map((at) => isEmpty({ key: `${at}/`, rangeEnd: `${at}0` })),
    success: ranges.map((at) => ({ put: { key: `${at}/exclusive/holder`, value, lease } })),
    failure: [],
  };
}

export async function acquireFigures(
  endpoints: readonly string[],
  client: EtcdClient,
): Promise<readonly AcquireFigure[]> {
  const driver = await etcdDriver.start({ endpoints });
  const { signal } = new AbortController();
  const lease = (await client.leaseGrant(leaseSeconds)).id;
  const figures: AcquireFigure[] = [];
  try {
    for (const disks of diskCounts) {
      const guests = Array.from({ length: calls }, () => simulatedGuest(disks));
      const transactions = guests.map((_, call) => sameShape(disks + 1, lease, call));
      const times = { acquire: [] as number[], transaction: [] as number[], put: [] as number[] };
      // The first round does not count: the connections, the lease, and compiled code come with it.
      for (let round = 0; round <= rounds; round++) {
        const timed = async <Result>(
          what: keyof typeof times,
          call: () => Promise<Result>,
        ): Promise<Result> => {
          const start = performance.now();
          const result = await call();
          if (round > 0) times[what].push(performance.now() - start);
          return result;
        };
        const grants: Grant[] = [];
        for (const { owner, requests } of guests) {
          grants.push(await timed('acquire', async () => driver.acquire(owner, requests, { signal })));
        }
        for (const grant of grants) await driver.release(grant);
        for (const transaction of transactions) await timed('transaction', () => client.txn(transaction));
        for (const { success } of transactions) {
          const keys = success.flatMap(({ put }) => (put === undefined ? [] : [put.key]));
          await client.txn({ compare: [], success: keys.map((key) => ({ delete: { key } })), failure: [] });
        }
        for (let call = 0; call < calls; call++)
          await timed('put', () => client.put({ key: 'bench', value }));
      }
      const { acquire, transaction, put } = times;
      figures.push({ disks, acquire: median(acquire), transaction: median(transaction), put: median(put) });
    }
  } finally {
    await client.leaseRevoke(lease);
    await driver.end?.();
  }
  return figures;
}

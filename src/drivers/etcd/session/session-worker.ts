/**
 * The thread for renewals. After its start it touches no file system, and waits for nobody: neither a disk that is dead nor a
 * main thread that is busy may cost a lock.
 */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { EtcdClient } from '../client/etcd-client.js';
import type { EtcdClientOptions } from '../client/endpoint.js';
import type { Timings } from '../timings.js';
import { writeConfirmed } from './confirmed-time.js';
import { SessionRunner, type SessionLease } from './session-runner.js';
import type { SessionState } from './session-state.js';

/** What the thread is started with: plain data. */
export interface SessionWorkerData {
  readonly client: EtcdClientOptions;
  readonly timings: Timings;
  readonly lease: SessionLease;
  readonly state: SessionState;
  /** Where the time of the last confirmed renewal is written (`confirmed-time.ts`). */
  readonly confirmed: SharedArrayBuffer;
}

/** From this thread. */
export type SessionNews = { readonly news: 'confirmed' } | { readonly news: 'lost'; readonly reason: string };

async function renew(port: MessagePort, data: SessionWorkerData): Promise<void> {
  const { timings, lease, state, confirmed } = data;
  const client = await EtcdClient.open(data.client);
  const tell = (news: SessionNews): void => port.postMessage(news);
  const runner = new SessionRunner({
    client,
    lease,
    timings,
    begin: { state, commands: [] },
    onChange: (now, before) => {
      if (now.confirmedAtMs !== before.confirmedAtMs) {
        writeConfirmed(confirmed, now.confirmedAtMs);
        tell({ news: 'confirmed' });
      }
      if (now.phase === 'lost') tell({ news: 'lost', reason: now.lossReason ?? '' });
    },
  });
  // The port keeps the thread, until it is told to end or is ended from outside.
  port.once('message', () => {
    runner.stop();
    client.close();
  });
}

// A failure ends the thread, which is how the other one hears of it.
if (parentPort !== null) void renew(parentPort, workerData as SessionWorkerData);

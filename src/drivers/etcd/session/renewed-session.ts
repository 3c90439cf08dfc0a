/**
 * A session with etcd: one lease, renewed for as long as it is needed, and until when it is certain.
 *
 * Who opens it renews it for a moment; when the first renewal is due a thread of its own is started, and renews alone from
 * its first success on. So a command that is over by then costs no thread, and there is no moment in which nobody renews. If
 * the thread fails, the renewals come back to who opened the session.
 */
import { Worker } from 'node:worker_threads';
import type { GuaranteeTimes } from '../../../driver/contract.js';
import { boottimeMs } from '../../../system/boot-clock.js';
import type { Loss } from '../../../vocabulary.js';
import type { EtcdClientOptions } from '../client/endpoint.js';
import type { EtcdClient } from '../client/etcd-client.js';
import { guaranteeFrom, type Timings } from '../timings.js';
import { resumeSession } from './advance-session.js';
import { newConfirmed, readConfirmed, writeConfirmed } from './confirmed-time.js';
import { SessionRunner, type SessionLease } from './session-runner.js';
import type { SessionState, SessionStep } from './session-state.js';
import type { SessionNews, SessionWorkerData } from './session-worker.js';

export interface Session {
  readonly leaseId: bigint;
  /** Hexadecimal. */
  readonly clusterId: string;
  readonly times: GuaranteeTimes;
  /** Calls back after each renewal; gives a function that ends that. */
  onRenewal(listener: (times: GuaranteeTimes) => void): () => void;
  /** Settles when the session is lost; `resources` is empty: it is all that the session has. */
  readonly lost: Promise<Loss>;
  /** Renews no more and revokes the lease: all keys go with it. Rejects with `EtcdFailure` if that cannot be told; it ends by itself then. */
  end(): Promise<void>;
}

export interface RenewedSessionOptions {
  /** For the thread's own connections. */
  readonly options: EtcdClientOptions;
  readonly client: EtcdClient;
  /** With the session's end. */
  readonly closesClient: boolean;
  readonly timings: Timings;
  readonly lease: SessionLease;
  readonly begin: SessionStep;
}

/** A few connections and one small state: what is young in the thread dies young. */
const maxYoungGenerationSizeMb = 4;

export class RenewedSession implements Session {
  readonly leaseId: bigint;
  readonly clusterId: string;
  readonly lost: Promise<Loss>;
  readonly #given: RenewedSessionOptions;
  readonly #confirmed: SharedArrayBuffer;
  readonly #listeners = new Set<(times: GuaranteeTimes) => void>();
  #tellLost: (loss: Loss) => void = () => undefined;
  /** As far as this thread knows it. */
  #state: SessionState;
  /** This thread's own; undefined: the other one renews, or nobody any more. */
  #runner: SessionRunner | undefined;
  #worker: Worker | undefined;
  /** A thread that failed is not tried again. */
  #threadWasStarted = false;
  #watchdog: NodeJS.Timeout | undefined;
  /** Lost, or given back. */
  #isOver = false;

  constructor(given: RenewedSessionOptions) {
    this.#given = given;
    this.#state = given.begin.state;
    this.leaseId = given.lease.id;
    this.clusterId = this.#state.clusterId.toString(16);
    this.lost = new Promise((resolve) => (this.#tellLost = resolve));
    this.#confirmed = newConfirmed(this.#state.confirmedAtMs);
    this.#runner = this.#run(given.begin);
    this.#watch(given.timings.renewIntervalMs);
  }

  get times(): GuaranteeTimes {
    return guaranteeFrom(readConfirmed(this.#confirmed), this.#given.timings);
  }

  onRenewal(listener: (times: GuaranteeTimes) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async end(): Promise<void> {
    this.#stop();
    const { client, closesClient, lease } = this.#given;
    try {
      await client.leaseRevoke(lease.id);
    } finally {
      if (closesClient) client.close();
    }
  }

  #run(begin: SessionStep): SessionRunner {
    const { client, timings, lease } = this.#given;
    return new SessionRunner({
      client,
      lease,
      timings,
      begin,
      onChange: (now, before) => {
        this.#state = now;
        if (now.confirmedAtMs !== before.confirmedAtMs) {
          writeConfirmed(this.#confirmed, now.confirmedAtMs);
          this.#announce();
        }
        if (now.phase === 'lost') this.#lose(now.lossReason ?? '');
      },
    });
  }

  #announce(): void {
    const { times } = this;
    for (const listener of this.#listeners) listener(times);
  }

  #lose(reason: string): void {
    if (this.#isOver) return;
    this.#stop();
    this.#tellLost({ reason, resources: [] });
  }

  #stop(): void {
    this.#isOver = true;
    clearTimeout(this.#watchdog);
    this.#runner?.stop();
    this.#runner = undefined;
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
  }

  /** This thread looks at the time too: the other one may be gone, or stand still. */
  #watch(ms: number): void {
    this.#watchdog = setTimeout(() => {
      const leftMs = this.times.loseAtMs - boottimeMs();
      if (leftMs <= 0) return this.#lose('no renewal was confirmed in time');
      // Without a mark the thread could not tell one that is missing from one that is gone.
      if (!this.#threadWasStarted && this.#state.phase === 'certain') this.#startThread();
      this.#watch(Math.min(leftMs, this.#given.timings.renewIntervalMs));
    }, Math.ceil(ms));
    this.#watchdog.unref();
  }

  #startThread(): void {
    this.#threadWasStarted = true;
    const { options, timings, lease } = this.#given;
    const data: SessionWorkerData = {
      client: options,
      timings,
      lease,
      state: resumeSession(this.#state, readConfirmed(this.#confirmed), boottimeMs()),
      confirmed: this.#confirmed,
    };
    const worker = new Worker(new URL('./session-worker.js', import.meta.url), {
      name: 'holdfast-renewals',
      workerData: data,
      trackUnmanagedFds: false,
      resourceLimits: { maxYoungGenerationSizeMb },
    });
    worker.unref();
    this.#worker = worker;
    worker.on('message', (news: SessionNews) => {
      if (this.#worker !== worker) return;
      if (news.news === 'lost') return this.#lose(news.reason);
      this.#runner?.stop();
      this.#runner = undefined;
      this.#announce();
    });
    // Its exit follows; without a listener it would be thrown here.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      const state = resumeSession(this.#state, readConfirmed(this.#confirmed), boottimeMs());
      this.#runner ??= this.#run({ state, commands: [] });
    });
  }
}

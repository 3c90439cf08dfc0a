/** The main thread's side of the thread that serves libvirt's lock protocol. */
import { EventEmitter, once } from 'node:events';
import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { newEventFd, wake } from '../../system/event-fd.js';
import type { ClusterRefusal, ClusterWish } from './cluster-calls.js';
import { counters, newCounters, type LockdCounter } from './counters.js';
import type { Lock } from './lock-table.js';
import type { LockdEvent } from './lockd-event.js';
import type { TakenUp } from './take-up.js';
import type { LockdNews, LockdOrder, LockdWorkerData } from './lockd-worker.js';

/**
 * What is held lives long and all else a moment: more room for that would be memory that is touched and never used. (The
 * default grows to 48 MB.)
 */
const maxYoungGenerationSizeMb = 4;

export interface LockdThreadOptions {
  /** The program of the thread. */
  readonly program: URL;
  readonly listening: number;
  readonly channel: number;
  readonly journalPath: string;
  /** Who but this process has a file that somebody outside has locked, in words; undefined: nobody knows. */
  readonly explain: (path: string, pid: number) => Promise<string | undefined>;
  /** Takes a lock in the cluster as well, or gives it back there. Missing: there is no cluster. */
  readonly inCluster?: (wish: ClusterWish) => Promise<ClusterRefusal | undefined>;
}

export type LockdStart = TakenUp;

/**
 * Emits `event` with a `LockdEvent`, `error` when the thread has failed, `keeper stands still` as `ChannelOptions` has it, and
 * `keeper ended` with another keeper's ends of the thread's channel: whoever gets them has everything that is held.
 */
export class LockdThread extends EventEmitter<{
  event: [LockdEvent];
  error: [Error];
  'keeper stands still': [again: boolean];
  'keeper ended': [ends: readonly number[]];
}> {
  readonly #worker: Worker;
  readonly #wakeFd = newEventFd();
  readonly #counters = newCounters();
  readonly #explain: LockdThreadOptions['explain'];
  readonly #inCluster: LockdThreadOptions['inCluster'];
  readonly #lists = new Map<number, (locks: readonly Lock[]) => void>();
  #lastToken = 0;
  #started: (start: LockdStart) => void = () => undefined;
  /** What it found when it started. */
  readonly started: Promise<LockdStart>;

  constructor({ program, explain, inCluster, ...given }: LockdThreadOptions) {
    super();
    this.#explain = explain;
    this.#inCluster = inCluster;
    this.started = new Promise((resolve) => (this.#started = resolve));
    const data: LockdWorkerData = {
      ...given,
      wakeFd: this.#wakeFd,
      uid: process.geteuid?.() ?? 0,
      counters: this.#counters,
      inCluster: inCluster !== undefined,
    };
    this.#worker = new Worker(program, {
      workerData: data,
      trackUnmanagedFds: false,
      resourceLimits: { maxYoungGenerationSizeMb },
    });
    this.#worker.on('message', (news: LockdNews) => this.#hear(news));
    this.#worker.on('error', (error) => this.emit('error', error));
  }

  /** What it has counted since it started, and how much it has now. */
  counts(): Readonly<Record<LockdCounter, number>> {
    const count = new Int32Array(this.#counters);
    return Object.fromEntries(counters.map((name, index) => [name, count[index] ?? 0])) as Record<
      LockdCounter,
      number
    >;
  }

  /** Everything that is held through the protocol. */
  locks(): Promise<readonly Lock[]> {
    const token = ++this.#lastToken;
    return new Promise((resolve) => {
      this.#lists.set(token, resolve);
      this.#order({ order: 'list', token });
    });
  }

  /** Whether what goes well is reported as well; costs each call some microseconds. */
  reportEverything(on: boolean): void {
    this.#order({ order: 'report everything', on });
  }

  /** Ends the thread; connections close, and what is held stays with the keeper. */
  async stop(): Promise<void> {
    const gone = once(this.#worker, 'exit');
    this.#order({ order: 'stop' });
    await gone;
    closeSync(this.#wakeFd);
  }

  #order(order: LockdOrder): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(order);
    wake(this.#wakeFd);
  }

  #hear(news: LockdNews): void {
    switch (news.news) {
      case 'ready':
        return this.#started(news);
      case 'event':
        this.emit('event', news.event);
        return;
      case 'keeper ended':
        this.emit('keeper ended', news.ends);
        return;
      case 'keeper stands still':
        this.emit('keeper stands still', news.again);
        return;
      case 'locks':
        this.#lists.get(news.token)?.(news.locks);
        this.#lists.delete(news.token);
        return;
      case 'in cluster':
        return void this.#settled(news.wish);
      case 'explain':
        void this.#explained(news.token, news.path, news.pid);
    }
  }

  async #settled(wish: ClusterWish): Promise<void> {
    const refusal = await this.#inCluster?.(wish);
    if (wish.wish === 'forget') return;
    const { token } = wish;
    this.#order({ order: 'in cluster', token, ...(refusal === undefined ? {} : { refusal }) });
  }

  async #explained(token: number, path: string, pid: number): Promise<void> {
    const by = await this.#explain(path, pid).catch(() => undefined);
    this.#order({ order: 'explained', token, ...(by === undefined ? {} : { by }) });
  }
}

/** What is counted, for Prometheus. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { DaemonEvent, EventLog } from './api/event-log.js';
import type { LockdCounter } from './lockd/counters.js';

/** Seconds: from one kernel lock to a wait for a guest that shuts down. */
const secondBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 300];

export interface MetricsSources {
  readonly events: EventLog;
  readonly restarts: number;
  readonly holds: () => number;
  readonly lockd: () => Readonly<Record<LockdCounter, number>>;
}

/** What the lock protocol's thread counts, and how it stands there now. */
const lockdGauges: readonly LockdCounter[] = ['locks', 'connections'];

export class Metrics {
  readonly #registry = new Registry();
  readonly #acquireSeconds: Histogram<'result'>;

  constructor({ events, restarts, holds, lockd }: MetricsSources) {
    const registers = [this.#registry];
    this.#acquireSeconds = new Histogram({
      name: 'holdfast_acquire_seconds',
      help: 'How long it took to answer who asked the API for a hold, with waiting',
      labelNames: ['result'],
      buckets: secondBuckets,
      registers,
    });
    const gauge = new Gauge({
      name: 'holdfast_holds',
      help: 'Holds through the API, and locks through the protocol of libvirt',
      labelNames: ['through'],
      registers: [],
      collect() {
        this.set({ through: 'api' }, holds());
        this.set({ through: 'lockd' }, lockd().locks);
      },
    });
    this.#registry.registerMetric(gauge);
    const restarted = new Counter({
      name: 'holdfast_restarts_total',
      help: 'How often the daemon was started again since its keeper runs',
      registers,
    });
    restarted.inc(restarts);
    this.#countLockd(lockd);
    this.#countEvents(events);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text that Prometheus reads. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Times one acquire; to be called with its result. */
  startAcquire(): (result: 'granted' | 'refused' | 'failed') => void {
    const end = this.#acquireSeconds.startTimer();
    return (result) => void end({ result });
  }

  #countLockd(lockd: MetricsSources['lockd']): void {
    for (const name of Object.keys(lockd()) as LockdCounter[]) {
      const words = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const help = `The lock protocol of libvirt: ${words.replaceAll('_', ' ')}`;
      const metric = lockdGauges.includes(name)
        ? new Gauge({
            name: `holdfast_lockd_${words}`,
            help,
            registers: [],
            collect() {
              this.set(lockd()[name]);
            },
          })
        : new Counter({
            name: `holdfast_lockd_${words}_total`,
            help,
            registers: [],
            collect() {
              this.reset();
              this.inc(lockd()[name]);
            },
          });
      this.#registry.registerMetric(metric);
    }
  }

  #countEvents(events: EventLog): void {
    const registers = [this.#registry];
    const refusals = new Counter({
      name: 'holdfast_refusals_total',
      help: 'Acquires that were refused because somebody else has it',
      labelNames: ['through'],
      registers,
    });
    const waits = new Counter({
      name: 'holdfast_waits_total',
      help: 'Acquires that had to wait',
      registers,
    });
    const losses = new Counter({
      name: 'holdfast_losses_total',
      help: 'Holds and locks that could no longer be guaranteed, or were not there any more after a restart',
      registers,
    });
    const isRefusal = ({ event, what }: DaemonEvent): boolean =>
      event === 'refused' || (event === 'lockd' && what === 'refused');
    events.listen((event) => {
      if (isRefusal(event)) refusals.inc({ through: event.event === 'lockd' ? 'lockd' : 'api' });
      else if (event.event === 'waiting') waits.inc();
      else if (event.event === 'lost') losses.inc();
    });
  }
}

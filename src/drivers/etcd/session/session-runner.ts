/**
 * Runs the state machine of a session against a real cluster: does what it commands, and tells it what came of it, and the
 * time. Used by the thread for renewals and, until that runs, by the thread that opened the session.
 */
import { causeText } from '../../../errors.js';
import { boottimeMs } from '../../../system/boot-clock.js';
import type { CallOptions, EtcdClient } from '../client/etcd-client.js';
import { compareResult, compareTarget, type Header } from '../client/messages.js';
import type { Timings } from '../timings.js';
import { advanceSession, wakeAtMs } from './advance-session.js';
import type {
  AnswerHeader,
  SessionCommand,
  SessionEvent,
  SessionState,
  SessionStep,
} from './session-state.js';

/** The calls that a session needs. */
export type SessionClient = Pick<EtcdClient, 'idempotentTxn' | 'leaseKeepAlive' | 'range' | 'watch'>;

/** What a session has in etcd: plain data. */
export interface SessionLease {
  readonly id: bigint;
  readonly markKey: string;
  readonly markValue: string;
}

export interface SessionRunnerOptions {
  readonly client: SessionClient;
  readonly lease: SessionLease;
  readonly timings: Timings;
  /** Where it begins: what `startSession` gave, or `resumeSession`. */
  readonly begin: SessionStep;
  /** After each change of state. */
  readonly onChange: (state: SessionState, before: SessionState) => void;
}

export class SessionRunner {
  readonly #options: SessionRunnerOptions;
  #state: SessionState;
  #timer: NodeJS.Timeout | undefined;
  #endWatch: (() => void) | undefined;
  #isStopped = false;

  constructor(options: SessionRunnerOptions) {
    this.#options = options;
    this.#state = options.begin.state;
    if (this.#state.markRevision !== undefined) this.#watch(this.#state.markRevision);
    this.#take(options.begin);
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Does and tells nothing any more. The session stays as it is. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#endWatch?.();
  }

  #tell(event: SessionEvent): void {
    if (this.#isStopped) return;
    this.#take(advanceSession(this.#state, event, this.#options.timings));
  }

  #take({ state, commands }: SessionStep): void {
    const before = this.#state;
    this.#state = state;
    for (const command of commands) void this.#perform(command);
    if (before !== state) {
      if (before.markRevision === undefined && state.markRevision !== undefined) {
        this.#watch(state.markRevision);
      }
      this.#options.onChange(state, before);
    }
    this.#sleep();
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    const { timings } = this.#options;
    const wakeAt = wakeAtMs(this.#state, timings);
    if (this.#isStopped || wakeAt === Infinity) return;
    // Timers stand still in suspend: never a long one, so that the time is looked at soon after it.
    const ms = Math.min(Math.max(0, wakeAt - boottimeMs()), timings.renewIntervalMs);
    this.#timer = setTimeout(() => this.#tell({ event: 'time', nowMs: boottimeMs() }), Math.ceil(ms));
    this.#timer.unref();
  }

  async #perform(command: SessionCommand): Promise<void> {
    // Of what is abandoned the answer counts for nothing; `revoke` is for who ends the session.
    if (command.command === 'abandon' || command.command === 'revoke') return;
    const { client, lease, timings } = this.#options;
    const { endpoint } = command;
    const call: CallOptions = { endpoint, timeoutMs: timings.renewDeadlineMs };
    const failedCall = command.command === 'mark' ? 'mark' : command.round;
    try {
      if (command.command === 'mark') {
        const createRevision = await this.#mark(call);
        this.#tell({ event: 'marked', nowMs: boottimeMs(), endpoint, createRevision });
      } else if (command.command === 'keep alive') {
        const { header, ttl } = await client.leaseKeepAlive(lease.id, call);
        const { round } = command;
        this.#tell({ event: 'kept', nowMs: boottimeMs(), round, ttlMs: ttl * 1000, ...origin(header) });
      } else {
        const { header, kvs } = await client.range({ key: lease.markKey, keysOnly: true }, call);
        const createRevision = kvs[0]?.createRevision;
        const { round } = command;
        this.#tell({ event: 'read', nowMs: boottimeMs(), round, createRevision, ...origin(header) });
      }
    } catch (error) {
      this.#tell({ event: 'failed', nowMs: boottimeMs(), call: failedCall, why: causeText(error) });
    }
  }

  /** Puts it unless it is there, as the answer to a first try may have been lost; gives the revision that made it. */
  async #mark(call: CallOptions): Promise<number> {
    const { client, lease } = this.#options;
    const { id, markKey: key, markValue: value } = lease;
    const { succeeded, header, responses } = await client.idempotentTxn(
      {
        compare: [{ key, target: compareTarget.version, result: compareResult.equal, version: 0 }],
        success: [{ put: { key, value, lease: id } }],
        failure: [{ range: { key, keysOnly: true } }],
      },
      call,
    );
    const revision = succeeded ? header?.revision : responses[0]?.range?.kvs[0]?.createRevision;
    if (revision === undefined) throw new RangeError('etcd answered without a revision');
    return revision;
  }

  #watch(markRevision: number): void {
    this.#endWatch = this.#options.client.watch(
      { key: this.#options.lease.markKey, startRevision: markRevision + 1 },
      {
        onDelete: () => this.#tell({ event: 'deleted', nowMs: boottimeMs() }),
        // Each renewal reads it: a gap is closed by the next.
        onGap: () => undefined,
      },
    );
  }
}

function origin(header: Header | undefined): AnswerHeader {
  if (header === undefined) throw new RangeError('etcd answered without a header');
  return { clusterId: header.clusterId, raftTerm: header.raftTerm };
}

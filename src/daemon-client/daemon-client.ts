/**
 * A client of the lock daemon's API. Nothing is kept open between two calls but `events`; a daemon that is started again
 * meanwhile is asked again, so every call here is one that can be made twice.
 */
import { isHoldfastError } from '../errors.js';
import type { LockRequest, LossAction, Owner } from '../vocabulary.js';
import { askPersistently, openStream, type ApiRequest } from './api-request.js';
import type {
  DaemonDriver,
  DaemonGuest,
  DaemonHealth,
  DaemonHold,
  DaemonLock,
  DaemonRequests,
  DaemonState,
} from './daemon-answers.js';
import { serverEvents, type ServerEvent } from './server-events.js';

export interface DaemonLockOptions {
  /** Milliseconds; true: for ever. The daemon waits. */
  readonly wait?: number | boolean;
  readonly allowUnlocked?: boolean;
  /** False: a refusal need not say who is in the way. */
  readonly explain?: boolean;
  readonly signal?: AbortSignal;
}

/** Beyond what the daemon waits for a lock. */
const answerMs = 30_000;

export class DaemonClient {
  readonly socket: string;

  /** @param socket absolute */
  constructor(socket: string) {
    this.socket = socket;
  }

  async health(): Promise<DaemonHealth> {
    return (await this.#ask('GET', '/v1/health')) as DaemonHealth;
  }

  async drivers(): Promise<readonly DaemonDriver[]> {
    return (await this.#ask('GET', '/v1/drivers')) as readonly DaemonDriver[];
  }

  async holds(): Promise<readonly DaemonHold[]> {
    return (await this.#ask('GET', '/v1/holds')) as readonly DaemonHold[];
  }

  /** Undefined: the daemon has no such hold, or no longer. */
  async hold(id: string): Promise<DaemonHold | undefined> {
    try {
      return (await this.#ask('GET', `/v1/holds/${encodeURIComponent(id)}`)) as DaemonHold;
    } catch (error) {
      if (isNoHold(error)) return undefined;
      throw error;
    }
  }

  /** What libvirt has locked through the daemon. */
  async locks(signal?: AbortSignal): Promise<readonly DaemonLock[]> {
    const options = signal === undefined ? {} : { signal };
    return (await this.#ask('GET', '/v1/locks', undefined, options)) as readonly DaemonLock[];
  }

  /**
   * How requests stand with the daemon's locks, in their order; not whether something uses them without a lock.
   * @param explain whether to look for those who are in the way
   */
  async states(input: DaemonRequests, explain = true): Promise<readonly DaemonState[]> {
    const plan = await this.#ask('POST', '/v1/plan', input, { allowUnlocked: true, explain });
    return (plan as { readonly states: readonly DaemonState[] }).states.map((state) =>
      // Where going on without a lock is allowed, what has none is free.
      state.code === 'CANNOT_LOCK' ? { ...state, free: false } : state,
    );
  }

  /**
   * Locks requests for a process, and for whoever keeps the witness locked after it. Asked again with the same witness
   * the daemon gives the hold that it has given.
   * @param options with `onLost`: what becomes of the owner when the hold is lost. Throws `UNSUPPORTED` where the daemon cannot do that
   */
  async lock(
    owner: Owner,
    requests: readonly LockRequest[],
    witness: string,
    { onLost, ...options }: DaemonLockOptions & { readonly onLost?: LossAction | undefined } = {},
  ): Promise<DaemonHold> {
    const body = { owner, requests, witness, ...(onLost === undefined ? {} : { onLost }) };
    return (await this.#ask('POST', '/v1/holds', body, options)) as DaemonHold;
  }

  /** Adds to a hold, all or nothing; what it has already in that mode is no error. */
  extend(
    id: string,
    input: DaemonGuest | DaemonRequests,
    options: DaemonLockOptions = {},
  ): Promise<DaemonHold> {
    return this.#change(id, 'extend', input, options);
  }

  /** Gives back some of it, by path as written, name in the guest, or identity. */
  shrink(id: string, names: readonly string[]): Promise<DaemonHold> {
    return this.#change(id, 'shrink', { names });
  }

  suspend(id: string): Promise<DaemonHold> {
    return this.#change(id, 'suspend');
  }

  /** Throws `LOST` if somebody else had a part of it meanwhile. */
  resume(id: string): Promise<DaemonHold> {
    return this.#change(id, 'resume');
  }

  /** Ends a hold; one that has ended already is no error. */
  async release(id: string): Promise<void> {
    try {
      await this.#ask('DELETE', `/v1/holds/${encodeURIComponent(id)}`);
    } catch (error) {
      if (!isNoHold(error)) throw error;
    }
  }

  /** What happens from now on, until the connection ends. Throws as all calls do if there is none. */
  async events(signal: AbortSignal): Promise<AsyncGenerator<ServerEvent, void>> {
    return serverEvents(await openStream({ socket: this.socket, method: 'GET', path: '/v1/events', signal }));
  }

  /** What was done already, when the daemon ended before it had said so, is wrong to do again: then it is as it is to be. */
  async #change(
    id: string,
    what: 'extend' | 'shrink' | 'suspend' | 'resume',
    body: object = {},
    options: DaemonLockOptions = {},
  ): Promise<DaemonHold> {
    const path = `/v1/holds/${encodeURIComponent(id)}`;
    let again = false;
    try {
      return (await this.#ask('POST', `${path}/${what}`, body, options, () => (again = true))) as DaemonHold;
    } catch (error) {
      if (!again || !isHoldfastError(error, 'USAGE')) throw error;
      return (await this.#ask('GET', path)) as DaemonHold;
    }
  }

  #ask(
    method: ApiRequest['method'],
    path: string,
    body?: object,
    { wait, allowUnlocked, explain, signal }: DaemonLockOptions = {},
    whenAskedAgain: () => void = () => undefined,
  ): Promise<unknown> {
    const waitMs = wait === true ? Infinity : wait === false ? 0 : (wait ?? 0);
    const options = {
      ...(wait === undefined ? {} : { wait }),
      ...(allowUnlocked === undefined ? {} : { allowUnlocked }),
      ...(explain === undefined ? {} : { explain }),
    };
    return askPersistently({
      socket: this.socket,
      method,
      path,
      ...(body === undefined ? {} : { body: { ...body, ...options } }),
      ...(signal === undefined ? {} : { signal }),
      answerMs: answerMs + waitMs,
      whenAskedAgain,
    });
  }
}

function isNoHold(error: unknown): boolean {
  return isHoldfastError(error, 'NO_SUCH_HOLD');
}

/**
 * A client of the lock daemon's API. Nothing is kept open between two calls but `events`; a daemon that is started again
 * meanwhile is asked again, so every call here is one that can be made twice.
 */
import { isHoldfastError } from '../errors.js';
import type { LockRequest, Owner } from '../vocabulary.js';
import { askPersistently, openStream, type ApiRequest } from './api-request.js';
import type { DaemonDriver, DaemonHold, DaemonLock, DaemonRequests, DaemonState } from './daemon-answers.js';
import { serverEvents, type ServerEvent } from './server-events.js';

/** What is to be locked for whom: requests, or what a guest is made of as the library takes it, paths absolute. */
export type DaemonInput = object;

export interface DaemonLockOptions {
  /** Milliseconds; true: for ever. The daemon waits. */
  readonly wait?: number | boolean;
  readonly allowUnlocked?: boolean;
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
  async locks(): Promise<readonly DaemonLock[]> {
    return (await this.#ask('GET', '/v1/locks')) as readonly DaemonLock[];
  }

  /** Whether requests would be granted now, in their order. */
  async states(input: DaemonRequests): Promise<readonly DaemonState[]> {
    return ((await this.#ask('POST', '/v1/plan', input)) as { readonly states: readonly DaemonState[] })
      .states;
  }

  /**
   * Locks requests for a process, and for whoever keeps the witness locked after it. Asked again with the same witness
   * the daemon gives the hold that it has given.
   */
  async lock(owner: Owner, requests: readonly LockRequest[], witness: string): Promise<DaemonHold> {
    return (await this.#ask('POST', '/v1/holds', { owner, requests, witness })) as DaemonHold;
  }

  /** Adds to a hold, all or nothing; what it has already in that mode is no error. */
  async extend(id: string, input: DaemonInput, options: DaemonLockOptions = {}): Promise<DaemonHold> {
    return (await this.#change(id, 'extend', input, options)) as DaemonHold;
  }

  /** Gives back some of it, by path as written, name in the guest, or identity. */
  async shrink(id: string, names: readonly string[]): Promise<DaemonHold> {
    return (await this.#change(id, 'shrink', { names })) as DaemonHold;
  }

  async suspend(id: string): Promise<DaemonHold> {
    return (await this.#change(id, 'suspend')) as DaemonHold;
  }

  /** Throws `LOST` if somebody else had a part of it meanwhile. */
  async resume(id: string): Promise<DaemonHold> {
    return (await this.#change(id, 'resume')) as DaemonHold;
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

  #change(
    id: string,
    what: string,
    body: DaemonInput = {},
    options: DaemonLockOptions = {},
  ): Promise<unknown> {
    return this.#ask('POST', `/v1/holds/${encodeURIComponent(id)}/${what}`, body, options);
  }

  #ask(
    method: ApiRequest['method'],
    path: string,
    body?: object,
    { wait, allowUnlocked, signal }: DaemonLockOptions = {},
  ): Promise<unknown> {
    const waitMs = wait === true ? Infinity : wait === false ? 0 : (wait ?? 0);
    return askPersistently({
      socket: this.socket,
      method,
      path,
      ...(body === undefined
        ? {}
        : {
            body: {
              ...body,
              ...(wait === undefined ? {} : { wait }),
              ...(allowUnlocked === undefined ? {} : { allowUnlocked }),
            },
          }),
      ...(signal === undefined ? {} : { signal }),
      answerMs: answerMs + waitMs,
    });
  }
}

function isNoHold(error: unknown): boolean {
  return isHoldfastError(error, 'NO_SUCH_HOLD');
}

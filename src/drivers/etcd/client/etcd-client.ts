/**
 * A client of an etcd cluster: just the calls that locks need, over any of the servers.
 *
 * Which server is asked: the one that answered last. What only reads, or harms nobody if it is done twice, is asked of the
 * others when that fails; a transaction is not: of one that was sent and not answered nobody knows whether it was done, and
 * only who sent it can find out.
 */
import { HoldfastError } from '../../../errors.js';
import { Endpoint, type EtcdClientOptions, type Procedure, type Stream } from './endpoint.js';
import { EtcdFailure, grpcStatus } from './etcd-failure.js';
import * as m from './messages.js';
import { WatchStream, type WatchListener } from './watch-stream.js';

const procedures = {
  range: { path: '/etcdserverpb.KV/Range', request: m.rangeRequest, response: m.rangeResponse },
  txn: { path: '/etcdserverpb.KV/Txn', request: m.txnRequest, response: m.txnResponse },
  put: { path: '/etcdserverpb.KV/Put', request: m.putRequest, response: m.headerOnly },
  grant: {
    path: '/etcdserverpb.Lease/LeaseGrant',
    request: m.leaseGrantRequest,
    response: m.leaseResponse,
  },
  revoke: { path: '/etcdserverpb.Lease/LeaseRevoke', request: m.leaseRequest, response: m.headerOnly },
  timeToLive: {
    path: '/etcdserverpb.Lease/LeaseTimeToLive',
    request: m.leaseRequest,
    response: m.leaseResponse,
  },
  keepAlive: {
    path: '/etcdserverpb.Lease/LeaseKeepAlive',
    request: m.leaseRequest,
    response: m.leaseResponse,
  },
  watch: { path: '/etcdserverpb.Watch/Watch', request: m.watchRequest, response: m.watchResponse },
  status: { path: '/etcdserverpb.Maintenance/Status', request: m.empty, response: m.statusResponse },
  authenticate: {
    path: '/etcdserverpb.Auth/Authenticate',
    request: m.authenticateRequest,
    response: m.authenticateResponse,
  },
} satisfies Record<string, Procedure<never, never> | object>;

export interface CallOptions {
  /** The number of a server in `endpoints`, and no other is asked. Missing: the client chooses. */
  readonly endpoint?: number;
  readonly timeoutMs?: number;
}

/** How a call may be made again. */
type Again = 'any server' | 'if not sent';

export class EtcdClient {
  readonly #options: EtcdClientOptions;
  readonly #endpoints: readonly Endpoint[];
  readonly #watches: WatchStream;
  #current: number;
  #token: Promise<string> | undefined;
  #closed = false;

  private constructor(options: EtcdClientOptions, endpoints: readonly Endpoint[]) {
    this.#options = options;
    this.#endpoints = endpoints;
    // Hosts that start alike do not all ask the first one.
    this.#current = Math.floor(Math.random() * endpoints.length);
    this.#watches = new WatchStream({
      open: () => this.#openWatch(),
      failed: (endpoint) => this.#leave(endpoint),
    });
  }

  /** Loads what is needed and connects to nothing yet. Throws `CONFIG`. */
  static async open(options: EtcdClientOptions): Promise<EtcdClient> {
    const loaded = await import('@grpc/grpc-js');
    // Bundled into a CommonJS file, the whole module is the default export alone.
    const grpc = 'Client' in loaded ? loaded : (loaded as { default: typeof loaded }).default;
    return new EtcdClient(
      options,
      options.endpoints.map((url) => new Endpoint(grpc, url, options)),
    );
  }

  get endpointCount(): number {
    return this.#endpoints.length;
  }

  /** The server that is asked at present. */
  get endpoint(): number {
    return this.#current;
  }

  range(request: m.RangeRequest, options: CallOptions = {}): Promise<m.RangeResponse> {
    return this.#call(procedures.range, request, 'any server', options);
  }

  /** A transaction that only reads. */
  read(request: m.TxnRequest, options: CallOptions = {}): Promise<m.TxnResponse> {
    return this.#call(procedures.txn, request, 'any server', options);
  }

  /** Rejects with an `EtcdFailure` whose `outcome` says whether it may have been done. */
  txn(request: m.TxnRequest, options: CallOptions = {}): Promise<m.TxnResponse> {
    return this.#call(procedures.txn, request, 'if not sent', options);
  }

  /** A transaction that leaves the same if it is done twice, at any time. */
  idempotentTxn(request: m.TxnRequest, options: CallOptions = {}): Promise<m.TxnResponse> {
    return this.#call(procedures.txn, request, 'any server', options);
  }

  /** Leaves the same if it is done twice. */
  put(request: m.PutRequest, options: CallOptions = {}): Promise<m.HeaderOnly> {
    return this.#call(procedures.put, request, 'any server', options);
  }

  /** `ttl`: seconds. A lease that was granted to nobody who heard of it ends by itself. */
  leaseGrant(ttl: number, options: CallOptions = {}): Promise<m.LeaseResponse> {
    return this.#call(procedures.grant, { ttl }, 'any server', options);
  }

  /** All its keys go with it. That it was gone already is no error. */
  async leaseRevoke(id: bigint, options: CallOptions = {}): Promise<void> {
    try {
      await this.#call(procedures.revoke, { id }, 'any server', options);
    } catch (error) {
      if (!(error instanceof EtcdFailure && error.leaseGone)) throw error;
    }
  }

  /** `ttl` is -1 for a lease that is gone. */
  leaseTimeToLive(id: bigint, options: CallOptions = {}): Promise<m.LeaseResponse> {
    return this.#call(procedures.timeToLive, { id }, 'any server', options);
  }

  /** One renewal, on a stream of its own; `ttl` 0: the lease is gone. Rejects with `EtcdFailure`. */
  async leaseKeepAlive(id: bigint, options: CallOptions = {}): Promise<m.LeaseResponse> {
    const number = options.endpoint ?? this.#current;
    const endpoint = this.#endpointAt(number);
    const token = await this.#tokenFrom(endpoint);
    const stream: Stream<m.LeaseRequest, m.LeaseResponse> = endpoint.stream(procedures.keepAlive, { token });
    const timeoutMs = options.timeoutMs ?? this.#options.callMs;
    return new Promise<m.LeaseResponse>((resolve, reject) => {
      const late = setTimeout(() => {
        fail(
          new EtcdFailure(
            'unknown',
            grpcStatus.deadlineExceeded,
            endpoint.url,
            `no answer in ${timeoutMs} ms`,
          ),
        );
      }, timeoutMs);
      const end = (): void => {
        clearTimeout(late);
        stream.cancel();
      };
      const fail = (failure: EtcdFailure): void => {
        end();
        if (failure.tokenRejected) this.#token = undefined;
        if (options.endpoint === undefined) this.#leave(number);
        reject(failure);
      };
      stream.on('error', (error) => fail(endpoint.failureOf(error)));
      stream.on('end', () =>
        fail(new EtcdFailure('unknown', grpcStatus.unavailable, endpoint.url, 'the stream ended')),
      );
      stream.on('data', (answer: m.LeaseResponse) => {
        end();
        resolve(answer);
      });
      stream.write({ id });
    });
  }

  /** What one server says of itself. */
  status(options: CallOptions = {}): Promise<m.StatusResponse> {
    return this.#call(procedures.status, {}, 'any server', options);
  }

  /** Calls the listener with all that happens to the keys from a revision on, until the function that it gives is called. */
  watch(
    range: { readonly key: string; readonly rangeEnd?: string; readonly startRevision: number },
    listener: WatchListener,
  ): () => void {
    return this.#watches.add(range, listener);
  }

  /** Calls that are under way fail. */
  close(): void {
    this.#closed = true;
    this.#watches.close();
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  async #call<Request extends object, Response extends object>(
    procedure: Procedure<Request, Response>,
    request: Request,
    again: Again,
    { endpoint: only, timeoutMs = this.#options.callMs }: CallOptions,
  ): Promise<Response> {
    let failure: EtcdFailure | undefined;
    // Once more than there are servers: the first can have refused a token that was too old.
    for (let round = 0; round <= this.#endpoints.length; round++) {
      if (this.#closed) throw new HoldfastError('ENDED', 'the driver etcd has ended');
      const number = only ?? this.#current;
      try {
        const endpoint = this.#endpointAt(number);
        const token = await this.#tokenFrom(endpoint);
        return await endpoint.call(procedure, request, { timeoutMs, token });
      } catch (error) {
        if (!(error instanceof EtcdFailure)) throw error;
        failure = worse(failure, error);
        if (error.tokenRejected && this.#options.user !== undefined && round === 0) {
          this.#token = undefined;
          continue;
        }
        if (!error.worthAnotherServer || only !== undefined) throw error;
        this.#leave(number);
        if (again === 'if not sent' && error.outcome !== 'not sent') throw error;
        if (round >= this.#endpoints.length - 1) break;
      }
    }
    throw failure ?? new HoldfastError('INTERNAL', 'there is no endpoint');
  }

  #endpointAt(number: number): Endpoint {
    const endpoint = this.#endpoints[number];
    if (endpoint === undefined) throw new HoldfastError('INTERNAL', `there is no endpoint ${number}`);
    return endpoint;
  }

  /** The next one is asked from now on; unless somebody has turned away from this one already. */
  #leave(number: number): void {
    if (this.#current === number) this.#current = (number + 1) % this.#endpoints.length;
  }

  /** The token that stands for user and password (Auth/Authenticate); undefined where none are given. */
  async #tokenFrom(endpoint: Endpoint): Promise<string | undefined> {
    const { user, callMs } = this.#options;
    if (user === undefined) return undefined;
    this.#token ??= endpoint
      .call(procedures.authenticate, user, { timeoutMs: callMs })
      .then(({ token }) => token)
      .catch((error: unknown) => {
        this.#token = undefined;
        // Not the call that was asked for: that one was never sent.
        if (error instanceof EtcdFailure && error.outcome === 'unknown') {
          throw new EtcdFailure('not sent', error.status, error.endpoint, error.message);
        }
        throw error;
      });
    return this.#token;
  }

  async #openWatch(): Promise<{
    readonly stream: Stream<m.WatchRequest, m.WatchResponse>;
    readonly endpoint: number;
  }> {
    const number = this.#current;
    const endpoint = this.#endpointAt(number);
    try {
      const token = await this.#tokenFrom(endpoint);
      return { stream: endpoint.stream(procedures.watch, { token, hasLeader: true }), endpoint: number };
    } catch (error) {
      this.#leave(number);
      throw error;
    }
  }
}

/** Of several servers' failures the one that tells most: best one that was reached and decides nothing. */
function worse(before: EtcdFailure | undefined, now: EtcdFailure): EtcdFailure {
  return before === undefined || telling(now) > telling(before) ? now : before;
}

function telling({ outcome, status }: EtcdFailure): number {
  if (outcome === 'not sent') return 0;
  return status === grpcStatus.deadlineExceeded ? 2 : 1;
}

/** One server of etcd, and the calls that are made to it. */
import { createSecureContext, type SecureContext } from 'node:tls';
import { HoldfastError } from '../../../errors.js';
import { etcdFailure, EtcdFailure, grpcStatus } from './etcd-failure.js';
import { GrpcCall } from './grpc-call.js';
import { GrpcConnection } from './grpc-connection.js';
import type { MessageType } from './wire.js';

/** What is needed to talk to a cluster: plain data, so that a thread can be given it. */
export interface EtcdClientOptions {
  /** `http://HOST:PORT` or `https://HOST:PORT`, all alike. */
  readonly endpoints: readonly string[];
  /** PEM texts. Without `ca`, those that Node trusts. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly user?: { readonly name: string; readonly password: string };
  /** How long one call to one server may take, in milliseconds. */
  readonly callMs: number;
}

/** A procedure: where it is, and how its messages are written. */
export interface Procedure<Request extends object, Response extends object> {
  /** `/etcdserverpb.KV/Txn`. */
  readonly path: string;
  readonly request: MessageType<Request>;
  readonly response: MessageType<Response>;
}

export interface UnaryOptions {
  readonly timeoutMs: number;
  readonly token?: string | undefined;
}

/** A server that gives up a call itself says so in its own way; it is to do so only when nobody listens any more. */
const serverMoreMs = 500;

/** Messages in both directions, until one side ends it. */
export interface Stream<Request> {
  write(message: Request): void;
  /** `onEnd` of its listener is called a moment later. */
  cancel(): void;
}

export interface StreamListener<Response> {
  readonly onMessage: (message: Response) => void;
  /** Once. Undefined: the server had no more to say. */
  readonly onEnd: (failure: EtcdFailure | undefined) => void;
}

export class Endpoint {
  readonly url: string;
  readonly #connection: GrpcConnection;

  /** Connects at the first call. Throws `CONFIG` for a certificate or key that cannot be read. */
  constructor(url: string, options: EtcdClientOptions) {
    this.url = url;
    const secureContext = url.startsWith('https:') ? secure(options) : undefined;
    this.#connection = new GrpcConnection({ url, secureContext, connectMs: options.callMs });
  }

  /** Rejects with `EtcdFailure`. */
  call<Request extends object, Response extends object>(
    { path, request, response }: Procedure<Request, Response>,
    message: Request,
    { timeoutMs, token }: UnaryOptions,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      let answer: Response | undefined;
      const late = setTimeout(
        () => call.cancel(grpcStatus.deadlineExceeded, `no answer in ${timeoutMs} ms`),
        timeoutMs,
      );
      const headers = { ...tokenHeader(token), 'grpc-timeout': `${Math.ceil(timeoutMs) + serverMoreMs}m` };
      const call = new GrpcCall(
        this.#connection,
        { path, headers },
        {
          onMessage: (bytes) => (answer = response.decode(bytes)),
          onEnd: (failure) => {
            clearTimeout(late);
            if (failure !== undefined) reject(etcdFailure(failure, this.url));
            else if (answer !== undefined) resolve(answer);
            else reject(new EtcdFailure('unknown', grpcStatus.internal, this.url, 'no answer'));
          },
        },
      );
      call.write(request.encode(message), true);
    });
  }

  /** `hasLeader`: the server ends the stream when it knows of no leader, where it would be silent else. */
  stream<Request extends object, Response extends object>(
    { path, request, response }: Procedure<Request, Response>,
    { token, hasLeader }: { readonly token?: string | undefined; readonly hasLeader?: boolean },
    listener: StreamListener<Response>,
  ): Stream<Request> {
    const headers = { ...tokenHeader(token), ...(hasLeader === true ? { hasleader: 'true' } : {}) };
    const call = new GrpcCall(
      this.#connection,
      { path, headers },
      {
        onMessage: (bytes) => listener.onMessage(response.decode(bytes)),
        onEnd: (failure) =>
          listener.onEnd(failure === undefined ? undefined : etcdFailure(failure, this.url)),
      },
    );
    return {
      write: (message) => call.write(request.encode(message), false),
      cancel: () => queueMicrotask(() => call.cancel(grpcStatus.cancelled, 'it is not needed any more')),
    };
  }

  close(): void {
    this.#connection.close();
  }
}

function tokenHeader(token: string | undefined): Readonly<Record<string, string>> {
  return token === undefined ? {} : { token };
}

function secure({ ca, cert, key }: EtcdClientOptions): SecureContext {
  try {
    return createSecureContext({ ca, cert, key });
  } catch (error) {
    throw new HoldfastError('CONFIG', 'driver etcd: the certificate, its key or the authority is no PEM', {
      setting: cert === undefined ? 'ca' : 'cert',
      cause: error,
    });
  }
}

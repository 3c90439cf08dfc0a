/** One server of etcd, and the channel to it. */
import type * as Grpc from '@grpc/grpc-js';
import { HoldfastError } from '../../../errors.js';
import { etcdFailure, EtcdFailure, grpcStatus } from './etcd-failure.js';
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

export type Stream<Request, Response> = Grpc.ClientDuplexStream<Request, Response>;

/**
 * No retries and no balancing inside: a lock has to know what became of each request, and where. A proxy of the environment
 * is not for the servers of a cluster. The server forbids pings more often than every five seconds (grpc-keepalive-min-time).
 */
const channelOptions = {
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.keepalive_time_ms': 6_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  // A thread's own channel must not be another's.
  'grpc.use_local_subchannel_pool': 1,
};

export class Endpoint {
  readonly url: string;
  readonly #grpc: typeof Grpc;
  readonly #client: Grpc.Client;

  /** Connects at the first call. Throws `CONFIG` for a certificate or key that cannot be read. */
  constructor(grpc: typeof Grpc, url: string, options: EtcdClientOptions) {
    this.url = url;
    this.#grpc = grpc;
    const { host, protocol } = new URL(url);
    this.#client = new grpc.Client(
      `dns:${host}`,
      protocol === 'https:' ? secure(grpc, options) : grpc.credentials.createInsecure(),
      channelOptions,
    );
  }

  /** Rejects with `EtcdFailure`. */
  call<Request extends object, Response extends object>(
    { path, request, response }: Procedure<Request, Response>,
    message: Request,
    { timeoutMs, token }: UnaryOptions,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest<Request, Response>(
        path,
        (value) => request.encode(value),
        (bytes) => response.decode(bytes),
        message,
        this.#metadata(token),
        { deadline: Date.now() + timeoutMs },
        (error, answer) => {
          if (error !== null) reject(this.#failure(error));
          else if (answer === undefined)
            reject(new EtcdFailure('unknown', grpcStatus.internal, this.url, 'no answer'));
          else resolve(answer);
        },
      );
    });
  }

  /** `hasLeader`: the server ends the stream when it knows of no leader, where it would be silent else. */
  stream<Request extends object, Response extends object>(
    { path, request, response }: Procedure<Request, Response>,
    { token, hasLeader }: { readonly token?: string | undefined; readonly hasLeader?: boolean },
  ): Stream<Request, Response> {
    const metadata = this.#metadata(token);
    if (hasLeader === true) metadata.set('hasleader', 'true');
    return this.#client.makeBidiStreamRequest<Request, Response>(
      path,
      (value) => request.encode(value),
      (bytes) => response.decode(bytes),
      metadata,
    );
  }

  close(): void {
    this.#client.close();
  }

  /** What a stream's `error` event has, as a failure of this server. */
  failureOf(error: unknown): EtcdFailure {
    return this.#failure(error as Grpc.ServiceError);
  }

  #failure({ code, details, message }: Grpc.ServiceError): EtcdFailure {
    return etcdFailure(code ?? grpcStatus.unknown, details || message, this.url);
  }

  #metadata(token: string | undefined): Grpc.Metadata {
    const metadata = new this.#grpc.Metadata();
    if (token !== undefined) metadata.set('token', token);
    return metadata;
  }
}

function secure(grpc: typeof Grpc, { ca, cert, key }: EtcdClientOptions): Grpc.ChannelCredentials {
  const bytes = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  try {
    return grpc.credentials.createSsl(bytes(ca), bytes(key), bytes(cert));
  } catch (error) {
    throw new HoldfastError('CONFIG', 'driver etcd: the certificate, its key or the authority is no PEM', {
      setting: cert === undefined ? 'ca' : 'cert',
      cause: error,
    });
  }
}

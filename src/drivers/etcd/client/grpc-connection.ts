/**
 * The connection to one server of etcd: HTTP/2, made at the first call and again at the next one after it was lost. Nothing is
 * tried again in here: a lock has to know what became of each request.
 *
 * Invariant: a call that waits for the connection is not given to Node, which would send it later even if it was cancelled: so
 * of one that was never opened nothing was sent, and nothing will be.
 */
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { SecureContext } from 'node:tls';

/** The server forbids pings more often than every five seconds (grpc-keepalive-min-time). */
const pingAfterMs = 6_000;
/** Between any two, with what timers are late. */
const pingMsMin = 5_500;
/** A server that answers none in this time is gone. */
const pingMsMax = 3_000;

export interface GrpcConnectionOptions {
  /** `http://HOST:PORT` or `https://HOST:PORT`. */
  readonly url: string;
  /** For https. */
  readonly secureContext?: SecureContext | undefined;
  /** A connection that is not made in this time is given up, and the next call makes another: the system tries ever more rarely. */
  readonly connectMs: number;
}

/** One connection, from the attempt on. */
interface Attempt {
  readonly session: ClientHttp2Session;
  isConnected: boolean;
  /** Of a connection that failed. */
  error: unknown;
  /** Nothing of them is sent as long as they wait. */
  readonly waiting: Set<WaitingCall>;
  /** Calls under way. */
  calls: number;
  lastPingMs: number;
}

export interface WaitingCall {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The connection is there. */
  readonly onOpen: (call: OpenCall) => void;
  /** There is none: nothing was sent. */
  readonly onFailed: (error: unknown) => void;
}

/** A call as HTTP/2 has it. */
export interface OpenCall {
  readonly stream: ClientHttp2Stream;
  /** The call had no answer in time: whether the server is there at all is asked now. */
  readonly doubt: () => void;
}

export class GrpcConnection {
  readonly #options: GrpcConnectionOptions;
  #attempt: Attempt | undefined;

  constructor(options: GrpcConnectionOptions) {
    this.#options = options;
  }

  /** Gives a function for who does not wait for the connection any longer: then nothing is sent. */
  open(call: WaitingCall): () => void {
    const attempt = this.#usable();
    if (attempt.isConnected) {
      open(attempt, call);
      return () => undefined;
    }
    attempt.waiting.add(call);
    keepProcess(attempt);
    return () => {
      attempt.waiting.delete(call);
      keepProcess(attempt);
    };
  }

  /** Calls that are under way fail. */
  close(): void {
    this.#attempt?.session.destroy();
    this.#attempt = undefined;
  }

  #usable(): Attempt {
    const { session } = this.#attempt ?? {};
    if (this.#attempt !== undefined && session?.closed === false && !session.destroyed) return this.#attempt;
    return (this.#attempt = this.#connect());
  }

  #connect(): Attempt {
    const { url, secureContext, connectMs } = this.#options;
    const session = connect(url, {
      settings: { enablePush: false },
      ...(secureContext === undefined ? {} : { secureContext }),
    });
    const attempt: Attempt = {
      session,
      isConnected: false,
      error: undefined,
      waiting: new Set(),
      calls: 0,
      lastPingMs: -Infinity,
    };
    session.unref();
    const late = setTimeout(() => {
      session.destroy(new Error(`${url} cannot be connected to in ${connectMs} ms`));
    }, connectMs);
    late.unref();
    const pings = setInterval(() => attempt.calls > 0 && ping(attempt), pingAfterMs);
    pings.unref();
    const leave = (): void => {
      if (this.#attempt === attempt) this.#attempt = undefined;
    };
    session.once('connect', () => {
      attempt.isConnected = true;
      clearTimeout(late);
      const waiting = [...attempt.waiting];
      attempt.waiting.clear();
      for (const call of waiting) open(attempt, call);
      keepProcess(attempt);
    });
    // The server takes no new calls here, and ends those that it has.
    session.once('goaway', leave);
    session.on('error', (error) => {
      attempt.error = error;
      leave();
    });
    session.once('close', () => {
      leave();
      clearTimeout(late);
      clearInterval(pings);
      const waiting = [...attempt.waiting];
      attempt.waiting.clear();
      for (const { onFailed } of waiting) onFailed(attempt.error);
    });
    return attempt;
  }
}

/** On a connection that is there. */
function open(attempt: Attempt, { path, headers, onOpen, onFailed }: WaitingCall): void {
  let stream: ClientHttp2Stream;
  try {
    stream = attempt.session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
  } catch (error) {
    return onFailed(error);
  }
  attempt.calls += 1;
  keepProcess(attempt);
  stream.once('close', () => {
    attempt.calls -= 1;
    keepProcess(attempt);
  });
  onOpen({ stream, doubt: () => ping(attempt) });
}

/** A call keeps the process, a connection that is not used does not. */
function keepProcess({ session, calls, waiting }: Attempt): void {
  if (session.destroyed) return;
  if (calls + waiting.size > 0) session.ref();
  else session.unref();
}

function ping(attempt: Attempt): void {
  const { session, isConnected, lastPingMs } = attempt;
  const nowMs = performance.now();
  if (!isConnected || session.destroyed || nowMs - lastPingMs < pingMsMin) return;
  attempt.lastPingMs = nowMs;
  const silent = setTimeout(() => session.destroy(new Error('the server answers no ping')), pingMsMax);
  silent.unref();
  const isSent = session.ping((error) => error === null && clearTimeout(silent));
  if (!isSent) clearTimeout(silent);
}

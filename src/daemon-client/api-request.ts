/**
 * One HTTP request to a lock daemon over its unix socket; an answer is read whole, and never more than `answerBytesMax`.
 *
 * A connection that breaks before the answer is no failure of the daemon's: one that is killed is started again at
 * once by its keeper, which has the listening socket, so what was asked can be asked again.
 */
import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { basename, dirname } from 'node:path';
import { errorCodes, HoldfastError, type ErrorDetails } from '../errors.js';
import { monotonicMs } from '../system/clock.js';
import type { ErrorCode } from '../vocabulary.js';

export interface ApiRequest {
  readonly socket: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** With a leading slash. */
  readonly path: string;
  /** Plain data. */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** How long an answer may take; default: 30 s. Infinity: as long as it wants. */
  readonly answerMs?: number;
  /** Called when a connection broke before the answer: it may have been done once by then. */
  readonly whenAskedAgain?: () => void;
}

/** 10,000 holds with long paths are some 20 MiB. */
const answerBytesMax = 64 * 1024 * 1024;
const answerMsDefault = 30_000;
/** The longest time that a timer can be set to. */
const timerMsMax = 2_147_483_647;
/** A new daemon answers after 0.3 s, on a host that is busy after some seconds. */
const restartMsMax = 15_000;
const retryMsMin = 20;
const retryMsMax = 500;
/** unix(7): `sun_path`, without the zero behind it. */
const socketPathBytesMax = 107;

/** The connection ended before the answer: whether it was done is not known. */
class Broken extends Error {}

/**
 * Asks, and asks again if the daemon ends meanwhile: only for what may be done twice.
 * @throws HoldfastError what the daemon answers; DRIVER_FAILED: it does not run, or does not answer; NOT_PERMITTED; ABORTED
 */
export async function askPersistently(asked: ApiRequest): Promise<unknown> {
  const end = monotonicMs() + restartMsMax;
  for (let pauseMs = retryMsMin; ; pauseMs = Math.min(pauseMs * 2, retryMsMax)) {
    try {
      return await ask(asked);
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      if (monotonicMs() > end) throw unanswered(asked, 'ends again and again before it answers', error);
      asked.whenAskedAgain?.();
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

async function ask(asked: ApiRequest): Promise<unknown> {
  const answer = await openAnswer(asked);
  const text = await wholeBody(answer, asked);
  const { statusCode: status = 0 } = answer.response;
  if (status >= 200 && status < 300) return text === '' ? undefined : parseJson(text, asked);
  throw answeredError(status, text, asked);
}

interface Answer {
  readonly response: IncomingMessage;
  /** Why it was given up here, if it was. */
  readonly givenUp: () => HoldfastError | undefined;
}

/**
 * An answer that has no end, byte by byte; keeps no process alive.
 * @throws HoldfastError as `askPersistently`; what the connection broke with
 */
export async function openStream(asked: ApiRequest): Promise<AsyncIterable<Buffer>> {
  const answer = await openAnswer({ ...asked, answerMs: Infinity });
  const { response } = answer;
  const { statusCode: status = 0 } = response;
  if (status !== 200) throw answeredError(status, await wholeBody(answer, asked), asked);
  response.socket.unref();
  return response as AsyncIterable<Buffer>;
}

/** Sends a request and gives the answer as soon as its head is there. */
function openAnswer(asked: ApiRequest): Promise<Answer> {
  const { method, path, body, signal, answerMs = answerMsDefault } = asked;
  const text = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const address = socketAddress(asked);
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(aborted(signal));
    const sent: ClientRequest = httpRequest({
      socketPath: address.path,
      method,
      path,
      agent: false,
      headers: {
        accept: 'application/json',
        ...(text === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': String(text.length) }),
      },
    });
    let reason: HoldfastError | undefined;
    const end = (why: HoldfastError): void => {
      reason ??= why;
      sent.destroy(reason);
    };
    const late = (): void => end(unanswered(asked, `has not answered for ${answerMs / 1000} s`));
    const timer = answerMs > timerMsMax ? undefined : setTimeout(late, answerMs);
    const giveUp = (): void => end(aborted(signal as AbortSignal));
    signal?.addEventListener('abort', giveUp, { once: true });
    sent.once('close', () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    });
    sent.once('socket', (socket) => socket.once('connect', address.connected));
    sent.once('response', (response) => resolve({ response, givenUp: () => reason }));
    sent.on('error', (error) => {
      address.connected();
      reject(asHoldfastError(error, asked));
    });
    sent.end(text);
  });
}

/** A path that is too long for an address is reached through its folder's descriptor. */
function socketAddress({ socket }: ApiRequest): { readonly path: string; readonly connected: () => void } {
  if (Buffer.byteLength(socket) <= socketPathBytesMax) return { path: socket, connected: () => undefined };
  let folder: number | undefined;
  try {
    folder = openSync(dirname(socket), constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    return { path: `/nonexistent/${basename(socket)}`, connected: () => undefined };
  }
  const connected = (): void => {
    if (folder !== undefined) closeSync(folder);
    folder = undefined;
  };
  return { path: `/proc/self/fd/${folder}/${basename(socket)}`, connected };
}

async function wholeBody({ response, givenUp }: Answer, asked: ApiRequest): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      bytes += part.length;
      if (bytes > answerBytesMax) throw unanswered(asked, 'answers more than 64 MiB');
      parts.push(part);
    }
  } catch (error) {
    throw givenUp() ?? asHoldfastError(error as Error, asked);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parseJson(text: string, asked: ApiRequest): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unanswered(asked, 'answers what is no JSON', cause);
  }
}

/** What the daemon refused, as if it had been thrown here. */
function answeredError(status: number, text: string, asked: ApiRequest): HoldfastError {
  let given: Record<string, unknown>;
  try {
    given = Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    given = {};
  }
  const { code, message } = given;
  if (typeof code !== 'string' || !Object.hasOwn(errorCodes, code) || typeof message !== 'string') {
    return unanswered(asked, `answers ${asked.method} ${asked.path} with status ${status}`);
  }
  return new HoldfastError(code as ErrorCode, message, detailsOf(given));
}

function detailsOf({
  resource,
  mode,
  holders,
  setting,
  remedy,
  retryable,
  cause,
}: Record<string, unknown>): ErrorDetails {
  return {
    ...(typeof resource === 'string' ? { resource } : {}),
    ...(typeof mode === 'string' ? { mode } : {}),
    ...(Array.isArray(holders) ? { holders } : {}),
    ...(typeof setting === 'string' ? { setting } : {}),
    ...(typeof remedy === 'string' ? { remedy } : {}),
    ...(typeof retryable === 'boolean' ? { retryable } : {}),
    ...(cause === undefined ? {} : { cause }),
  };
}

function asHoldfastError(error: Error, asked: ApiRequest): Error {
  if (error instanceof HoldfastError || error instanceof Broken) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM') return notPermitted(asked, error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return new Broken(error.message, { cause: error });
  return notRunning(asked, error);
}

/** Whether an error says that nobody listens: neither the daemon, nor its keeper, which has its locks. */
export function isNobodyListening(error: unknown): boolean {
  return error instanceof HoldfastError && nobodyListens.has(error);
}

const nobodyListens = new WeakSet<HoldfastError>();

const elsewhere = 'if it listens elsewhere, api_socket in [daemon] of the configuration says where';

const rootsSocket = '/run/holdfast/api.sock';

/** Root's daemon is another one: it holds for root, and only root, or a group that may look, gets in. */
function rootsOwn(): string {
  return existsSync(dirname(rootsSocket))
    ? `root has a lock daemon of its own at ${rootsSocket}: it is asked as root, or, to look only, by its group; `
    : '';
}

function notRunning({ socket }: ApiRequest, cause: Error): HoldfastError {
  const error = new HoldfastError(
    'DRIVER_FAILED',
    `holdfastd does not listen on ${socket}: ${cause.message}`,
    {
      cause,
      remedy:
        process.geteuid?.() === 0
          ? `Start it: systemctl start holdfastd, or holdfast serve; ${elsewhere}`
          : `Start one of your own: systemctl --user start holdfastd, or holdfast serve; ${rootsOwn()}${elsewhere}`,
    },
  );
  nobodyListens.add(error);
  return error;
}

function notPermitted({ socket }: ApiRequest, cause: Error): HoldfastError {
  return new HoldfastError(
    'NOT_PERMITTED',
    `holdfastd's socket ${socket} may not be used: ${cause.message}`,
    {
      cause,
      remedy:
        'A daemon locks for the user it runs as: ask as that user, or start one of your own (holdfast serve).',
    },
  );
}

function unanswered({ socket }: ApiRequest, what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('DRIVER_FAILED', `holdfastd at ${socket} ${what}`, {
    remedy: 'See its log.',
    retryable: true,
    ...(cause === undefined ? {} : { cause }),
  });
}

function aborted(signal: AbortSignal): HoldfastError {
  return new HoldfastError('ABORTED', 'the caller gave up', { cause: signal.reason });
}

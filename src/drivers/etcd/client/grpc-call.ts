/**
 * gRPC over HTTP/2, as far as etcd's calls need it: messages with their length in front, and a status at the end
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). No compression.
 */
import type { IncomingHttpHeaders } from 'node:http2';
import { causeText } from '../../../errors.js';
import { grpcStatus, type CallEnd } from './etcd-failure.js';
import type { GrpcConnection, OpenCall } from './grpc-connection.js';

export interface CallEvents {
  readonly onMessage: (bytes: Buffer) => void;
  /** Once, after all messages; undefined: all went well. */
  readonly onEnd: (failure: CallEnd | undefined) => void;
}

/** RFC 9113, 7: the call is no longer needed. */
const cancelCode = 8;
const prefixBytes = 5;
const messageBytesMax = 64 * 1024 * 1024;

export class GrpcCall {
  readonly #events: CallEvents;
  readonly #leave: () => void;
  #open: OpenCall | undefined;
  /** Written before it was open. */
  #unsent: { readonly frame: Buffer; readonly last: boolean }[] = [];
  /** What has arrived of a message that is not complete. Put together once there is enough: a large one comes in thousands. */
  #parts: Buffer[] = [];
  #bytes = 0;
  #enough = prefixBytes;
  /** Of the headers or trailers with `grpc-status`. */
  #status: IncomingHttpHeaders | undefined;
  #httpStatus: number | undefined;
  #trouble: unknown;
  #allRead = false;
  #isOver = false;

  constructor(
    connection: GrpcConnection,
    { path, headers }: { readonly path: string; readonly headers: Readonly<Record<string, string>> },
    events: CallEvents,
  ) {
    this.#events = events;
    this.#leave = connection.open({
      path,
      headers,
      onOpen: (open) => this.#opened(open),
      // Never at once: who makes the call has to have it first.
      onFailed: (error) => queueMicrotask(() => this.#end(grpcStatus.unavailable, troubleText(error))),
    });
  }

  #opened(open: OpenCall): void {
    this.#open = open;
    const { stream } = open;
    stream.on('response', (head) => {
      this.#httpStatus = head[':status'];
      this.#note(head);
    });
    stream.on('trailers', (trailers) => {
      this.#note(trailers);
      if (this.#allRead) this.#ended();
    });
    stream.on('data', (bytes: Buffer) => this.#read(bytes));
    stream.on('end', () => {
      this.#allRead = true;
      if (this.#status !== undefined) this.#ended();
    });
    stream.on('error', (error) => (this.#trouble = error));
    stream.on('close', () => this.#ended());
    for (const { frame, last } of this.#unsent) this.#send(frame, last);
    this.#unsent = [];
  }

  /** `last`: nothing more is written. */
  write(message: Buffer, last: boolean): void {
    if (this.#isOver) return;
    const frame = Buffer.allocUnsafe(prefixBytes + message.length);
    frame[0] = 0; // Not compressed.
    frame.writeUInt32BE(message.length, 1);
    message.copy(frame, prefixBytes);
    if (this.#open === undefined) this.#unsent.push({ frame, last });
    else this.#send(frame, last);
  }

  #send(frame: Buffer, last: boolean): void {
    const { stream } = this.#open ?? {};
    if (stream === undefined || stream.destroyed) return;
    if (last) stream.end(frame);
    else stream.write(frame);
  }

  /** Ends it with this status. */
  cancel(status: number, details: string): void {
    if (this.#isOver) return;
    if (status === grpcStatus.deadlineExceeded) this.#open?.doubt();
    this.#leave();
    this.#open?.stream.close(cancelCode);
    this.#end(status, details);
  }

  #note(headers: IncomingHttpHeaders): void {
    if (headers['grpc-status'] !== undefined) this.#status = headers;
  }

  #read(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (this.#isOver || this.#bytes < this.#enough) return;
    let rest = this.#parts.length === 1 ? bytes : Buffer.concat(this.#parts);
    this.#enough = prefixBytes;
    while (rest.length >= prefixBytes) {
      const length = rest.readUInt32BE(1);
      if (rest[0] !== 0 || length > messageBytesMax) {
        return this.cancel(grpcStatus.internal, `a message of ${length} bytes, or one that is compressed`);
      }
      this.#enough = prefixBytes + length;
      if (rest.length < this.#enough) break;
      const message = rest.subarray(prefixBytes, this.#enough);
      rest = rest.subarray(this.#enough);
      this.#enough = prefixBytes;
      try {
        this.#events.onMessage(message);
      } catch (error) {
        return this.cancel(grpcStatus.internal, causeText(error));
      }
    }
    this.#parts = [rest];
    this.#bytes = rest.length;
  }

  #ended(): void {
    if (this.#status !== undefined) {
      const status = Number(this.#status['grpc-status']);
      return this.#end(status, decodedMessage(this.#status['grpc-message']));
    }
    if (this.#httpStatus !== undefined && this.#httpStatus !== 200) {
      return this.#end(grpcStatus.unknown, `answered with the HTTP status ${this.#httpStatus}`);
    }
    // The connection failed, or the server reset the call: nobody knows how far it got.
    this.#end(grpcStatus.unavailable, troubleText(this.#trouble));
  }

  #end(status: number, details: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const mayBeSent = this.#open !== undefined;
    this.#events.onEnd(status === 0 ? undefined : { status, details, mayBeSent });
  }
}

/** Where Node only says that a call was cancelled, the cause counts; of several addresses, what became of the first. */
function troubleText(trouble: unknown): string {
  const { cause = trouble } = (trouble ?? {}) as Partial<Error>;
  const first: unknown = cause instanceof AggregateError ? cause.errors[0] : cause;
  return first === undefined ? 'the connection ended' : causeText(first);
}

/** Percent-encoded UTF-8. */
function decodedMessage(text: string | string[] | undefined): string {
  if (typeof text !== 'string') return 'the server gave no reason';
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

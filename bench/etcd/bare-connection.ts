/**
 * Just enough of HTTP/2 (RFC 9113) and gRPC to be a thousand hosts in one process: a call costs a tenth of what it does through a
 * library, so that the machine is left to etcd. Headers of answers are not read: a call is done when its message is there.
 * etcd is trusted here, and nothing is asked of it that exceeds its flow control.
 */
import { connect, type Socket } from 'node:net';
import type { MessageType } from '../../src/drivers/etcd/client/wire.js';

const frame = { data: 0, headers: 1, resetStream: 3, settings: 4, ping: 6, windowUpdate: 8 } as const;
const flags = { ack: 1, endStream: 1, endHeaders: 4 } as const;
const headBytes = 9;
const initialWindowSize = 4;
const cancelled = 8;
const large = 2 ** 30;
const messageHeadBytes = 5;

/** A procedure and how its messages are written. */
export interface BareProcedure<Request extends object, Response extends object> {
  readonly path: string;
  readonly request: MessageType<Request>;
  readonly response: MessageType<Response>;
}

export interface BareStream<Request> {
  write(message: Request): void;
  cancel(): void;
}

interface OpenStream {
  rest: Buffer;
  readonly arrived: (message: Buffer) => void;
  readonly ended: () => void;
}

export class BareConnection {
  readonly #socket: Socket;
  readonly #host: string;
  readonly #streams = new Map<number, OpenStream>();
  #nextStream = 1;
  #rest: Buffer = Buffer.alloc(0);

  /** @param endpoint `http://HOST:PORT` */
  constructor(endpoint: string) {
    const { hostname, port, host } = new URL(endpoint);
    this.#host = host;
    this.#socket = connect(Number(port), hostname).setNoDelay(true);
    this.#socket.on('data', (bytes) => this.#read(bytes));
    this.#socket.on('error', () => this.#socket.destroy());
    this.#socket.on('close', () => {
      for (const { ended } of this.#streams.values()) ended();
    });
    this.#socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    this.#write(frame.settings, 0, 0, Buffer.concat([uint(initialWindowSize, 2), uint(large, 4)]));
    this.#write(frame.windowUpdate, 0, 0, uint(large, 4));
  }

  /** One message, one answer; rejects if there is none. */
  call<Request extends object, Response extends object>(
    procedure: BareProcedure<Request, Response>,
    message: Request,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const arrived = (bytes: Buffer): void => resolve(procedure.response.decode(bytes));
      const ended = (): void => reject(new Error(`${procedure.path} was not answered`));
      const id = this.#open(procedure.path, { arrived, ended, rest: Buffer.alloc(0) });
      this.#write(frame.data, flags.endStream, id, framed(procedure.request.encode(message)));
    });
  }

  stream<Request extends object, Response extends object>(
    { path, request, response }: BareProcedure<Request, Response>,
    arrived: (message: Response) => void,
    ended: () => void,
  ): BareStream<Request> {
    const id = this.#open(path, {
      arrived: (bytes) => arrived(response.decode(bytes)),
      ended,
      rest: Buffer.alloc(0),
    });
    return {
      write: (message) => this.#write(frame.data, 0, id, framed(request.encode(message))),
      cancel: () => {
        if (this.#streams.delete(id)) this.#write(frame.resetStream, 0, id, uint(cancelled, 4));
      },
    };
  }

  #open(path: string, stream: OpenStream): number {
    const id = this.#nextStream;
    this.#nextStream += 2;
    this.#streams.set(id, stream);
    this.#write(frame.headers, flags.endHeaders, id, headersOf(path, this.#host));
    return id;
  }

  #write(type: number, flag: number, stream: number, payload: Buffer): void {
    const head = Buffer.concat([uint(payload.length, 3), Buffer.from([type, flag]), uint(stream, 4)]);
    this.#socket.write(Buffer.concat([head, payload]));
  }

  #read(bytes: Buffer): void {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (rest.length >= headBytes) {
      const end = headBytes + rest.readUIntBE(0, 3);
      if (rest.length < end) break;
      this.#take(rest[3] ?? 0, rest[4] ?? 0, rest.readUInt32BE(5), rest.subarray(headBytes, end));
      rest = rest.subarray(end);
    }
    this.#rest = rest;
  }

  #take(type: number, flag: number, id: number, payload: Buffer): void {
    const isAck = (flag & flags.ack) !== 0;
    if (type === frame.settings && !isAck) this.#write(frame.settings, flags.ack, 0, Buffer.alloc(0));
    if (type === frame.ping && !isAck) this.#write(frame.ping, flags.ack, 0, payload);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (type === frame.data) {
      stream.rest = Buffer.concat([stream.rest, payload]);
      while (stream.rest.length >= messageHeadBytes) {
        const end = messageHeadBytes + stream.rest.readUInt32BE(1);
        if (stream.rest.length < end) break;
        stream.arrived(stream.rest.subarray(messageHeadBytes, end));
        stream.rest = stream.rest.subarray(end);
      }
    }
    const isOver = (type === frame.data || type === frame.headers) && (flag & flags.endStream) !== 0;
    if (!isOver && type !== frame.resetStream) return;
    this.#streams.delete(id);
    stream.ended();
  }
}

function uint(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

/** As gRPC has it: not compressed, and how long. */
function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0]), uint(message.length, 4), message]);
}

/** HPACK (RFC 7541) without its table: POST, http, and what has to be said in plain text. */
function headersOf(path: string, host: string): Buffer {
  const text = (value: string): Buffer =>
    Buffer.concat([uint(value.length, 1), Buffer.from(value, 'latin1')]);
  return Buffer.concat([
    Buffer.from([0x83, 0x86, 0x04]),
    text(path),
    Buffer.from([0x01]),
    text(host),
    Buffer.from([0x0f, 0x10]),
    text('application/grpc'),
    Buffer.from([0x00]),
    text('te'),
    text('trailers'),
  ]);
}

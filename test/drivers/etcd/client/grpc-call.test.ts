/** Calls over HTTP/2 against servers that do what etcd does not do on request: answer in pieces, or not at all. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { test, type TestContext } from 'node:test';
import { grpcStatus, type CallEnd } from '../../../../src/drivers/etcd/client/etcd-failure.js';
import { GrpcCall } from '../../../../src/drivers/etcd/client/grpc-call.js';
import { GrpcConnection } from '../../../../src/drivers/etcd/client/grpc-connection.js';
import { until } from '../../../beds/until.js';

interface Answer {
  readonly call: GrpcCall;
  readonly messages: string[];
  /** What `onEnd` got. */
  readonly end: Promise<CallEnd | undefined>;
}

function call(connection: GrpcConnection): Answer {
  const messages: string[] = [];
  let over: (failure: CallEnd | undefined) => void = () => undefined;
  const end = new Promise<CallEnd | undefined>((resolve) => (over = resolve));
  const made = new GrpcCall(
    connection,
    { path: '/test', headers: {} },
    { onMessage: (bytes) => messages.push(bytes.toString()), onEnd: (failure) => over(failure) },
  );
  made.write(Buffer.from('question'), true);
  return { call: made, messages, end };
}

async function connectTo(
  t: TestContext,
  server: Server | ReturnType<typeof createHttp2Server>,
  secureContext?: SecureContext,
): Promise<GrpcConnection> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const scheme = secureContext === undefined ? 'http' : 'https';
  const url = `${scheme}://127.0.0.1:${port}`;
  const connection = new GrpcConnection({ url, secureContext, connectMs: 1_000 });
  t.after(() => {
    connection.close();
    server.close();
  });
  return connection;
}

async function answered(t: TestContext, answer: (stream: ServerHttp2Stream) => void): Promise<Answer> {
  const server = createHttp2Server();
  server.on('stream', (stream) => {
    stream.on('error', () => undefined).resume();
    answer(stream);
  });
  const made = call(await connectTo(t, server));
  await made.end;
  return made;
}

const frame = (text: string): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(text.length, 1);
  return Buffer.concat([prefix, Buffer.from(text)]);
};

function withTrailers(stream: ServerHttp2Stream, trailers: Record<string, string>): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
}

test('messages in pieces, and several at once', async (t) => {
  const { messages, end } = await answered(t, (stream) => {
    withTrailers(stream, { 'grpc-status': '0' });
    const all = Buffer.concat([frame('one'), frame(''), frame('x'.repeat(100_000)), frame('last')]);
    stream.write(all.subarray(0, 3));
    setTimeout(() => stream.write(all.subarray(3, 7)), 5);
    setTimeout(() => stream.end(all.subarray(7)), 10);
  });
  assert.equal(await end, undefined);
  assert.deepEqual(messages, ['one', '', 'x'.repeat(100_000), 'last']);
});

test('what the server says of a failure', async (t) => {
  const refused = await answered(t, (stream) => {
    stream.respond(
      { ':status': 200, 'grpc-status': '5', 'grpc-message': 'a%20lease%C2%AD' },
      { endStream: true },
    );
  });
  assert.deepEqual(await refused.end, { status: 5, details: 'a lease\u00AD', mayBeSent: true });
  const notGrpc = await answered(t, (stream) => stream.respond({ ':status': 502 }, { endStream: true }));
  assert.equal((await notGrpc.end)?.status, grpcStatus.unknown);
  const cut = await answered(t, (stream) => stream.session?.destroy());
  assert.deepEqual([(await cut.end)?.status, (await cut.end)?.mayBeSent], [grpcStatus.unavailable, true]);
  const compressed = await answered(t, (stream) => {
    withTrailers(stream, { 'grpc-status': '0' });
    stream.end(Buffer.from([1, 0, 0, 0, 0]));
  });
  assert.equal((await compressed.end)?.status, grpcStatus.internal);
});

test('of a call that is given up before there is a connection nothing is sent', async (t) => {
  const sockets: Socket[] = [];
  const seen: Buffer[] = [];
  // It says nothing, so that TLS is never ready.
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined).on('data', (bytes) => seen.push(bytes));
  });
  const connection = await connectTo(t, server, createSecureContext());
  const given = call(connection);
  const waits = call(connection);
  await until(() => seen.length > 0, 'the first bytes of TLS');
  given.call.cancel(grpcStatus.deadlineExceeded, 'too late');
  assert.deepEqual(await given.end, {
    status: grpcStatus.deadlineExceeded,
    details: 'too late',
    mayBeSent: false,
  });
  const late = await waits.end;
  assert.deepEqual([late?.status, late?.mayBeSent], [grpcStatus.unavailable, false]);
  assert.match(late?.details ?? '', /cannot be connected to in 1000 ms/);
  for (const socket of sockets) socket.destroy();
});

test('a server that no longer answers: the connection is given up, and the next call makes another', async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on('error', () => undefined).resume()));
  const connection = await connectTo(t, server);
  const first = call(connection);
  const second = call(connection);
  await until(() => sockets.length === 1, 'a connection');
  first.call.cancel(grpcStatus.deadlineExceeded, 'too late');
  assert.equal((await first.end)?.mayBeSent, true);
  assert.match((await second.end)?.details ?? '', /answers no ping/);
  const third = call(connection);
  await until(() => sockets.length === 2, 'another connection');
  third.call.cancel(grpcStatus.cancelled, 'enough');
  for (const socket of sockets) socket.destroy();
});

test('a connection that is cut is made anew', async (t) => {
  const server = createHttp2Server();
  let streams = 0;
  server.on('stream', (stream) => {
    stream.on('error', () => undefined).resume();
    streams += 1;
    if (streams === 1) {
      stream.session?.destroy();
      return;
    }
    withTrailers(stream, { 'grpc-status': '0' });
    stream.end(frame('here'));
  });
  const connection = await connectTo(t, server);
  assert.equal((await call(connection).end)?.status, grpcStatus.unavailable);
  const again = call(connection);
  assert.equal(await again.end, undefined);
  assert.deepEqual(again.messages, ['here']);
});

/** Servers that are not there, are not virtlockd, or misbehave. */
import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Driver } from '../../../src/driver/contract.js';
import virtlockdDriver from '../../../src/drivers/virtlockd/virtlockd.js';
import { isHoldfastError, type HoldfastError } from '../../../src/errors.js';
import { decodeLockCall, encodeLockReply, type LockCall } from '../../../src/protocol/lock-protocol.js';
import { ProtocolError } from '../../../src/protocol/protocol-error.js';
import { FrameReader, type RpcFrame } from '../../../src/protocol/rpc-frame.js';
import { fileResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { owner, signal } from '../../driver/named-resource.js';

const folder = privateRuntime();
let count = 0;
const servers: Server[] = [];
after(() => servers.forEach((server) => server.close()));

type Behave = (socket: Socket, frame: RpcFrame, call: LockCall) => void;

/** A driver whose server answers each call as `behave` does. */
async function driverOf(behave: Behave, accept: (socket: Socket) => void = () => undefined): Promise<Driver> {
  const path = join(folder, `sock-${count++}`);
  const server = createServer((socket) => {
    socket.unref();
    socket.on('error', () => undefined);
    const reader = new FrameReader();
    socket.on('data', (bytes: Buffer) => {
      reader.push(bytes, (frame) => behave(socket, frame, decodeLockCall(frame)));
    });
    accept(socket);
  }).unref();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return virtlockdDriver.start({ socket: path, qemu_lockd_conf: '/nonexistent' });
}

const disk = (): ReturnType<typeof fileResource> => fileResource(join(folder, `disk-${count++}`));
async function refusal(driver: Driver): Promise<HoldfastError> {
  const requests = [{ resource: disk(), mode: 'exclusive' as const }];
  const error: unknown = await driver.acquire(owner('guest'), requests, { signal }).then(
    () => undefined,
    (failed: unknown) => failed,
  );
  assert.ok(isHoldfastError(error));
  return error;
}
const failure = { domain: 7, level: 2, int1: -1, int2: -1 };

test('nobody listens: 69, with the cause and what to do', async () => {
  const driver = await virtlockdDriver.start({
    socket: join(folder, 'nobody'),
    qemu_lockd_conf: '/nonexistent',
  });
  const error = await refusal(driver);
  assert.equal(error.code, 'DRIVER_FAILED');
  assert.equal(error.exitCode, 69);
  assert.equal((error.cause as NodeJS.ErrnoException).code, 'ENOENT');
  assert.match(error.remedy, /virtlockd/);
});

test('a server that hangs up', async () => {
  const error = await refusal(await driverOf((socket) => socket.destroy()));
  assert.equal(error.code, 'DRIVER_FAILED');
  assert.match(error.message, /closed the connection/);
});

test('a server of another program', async () => {
  const driver = await driverOf((socket, frame) => {
    socket.write(
      encodeLockReply(frame, { ...failure, code: 39, message: 'Cannot find program 245874415 version 1' }),
    );
  });
  const error = await refusal(driver);
  assert.equal(error.code, 'DRIVER_FAILED');
  assert.match(error.message, /does not speak virtlockd's protocol: Cannot find program/);
});

test('a server that speaks something else', async () => {
  const error = await refusal(
    await driverOf((socket) => void socket.write('220 mail.example ESMTP ready\r\n\r\n')),
  );
  assert.equal(error.code, 'DRIVER_FAILED');
  assert.ok(error.cause instanceof ProtocolError);
  assert.equal(error.cause.fault, 'framing lost');
});

test('an error that cannot be read', async () => {
  const driver = await driverOf((socket, frame) => {
    const reply = encodeLockReply(frame, { ...failure, code: 1, message: 'x' });
    reply.writeUInt32BE(2, 28 + 8);
    socket.write(reply);
  });
  const error = await refusal(driver);
  assert.equal(error.code, 'DRIVER_FAILED');
  assert.ok(error.cause instanceof ProtocolError);
});

test('errors of the system are told apart', async () => {
  for (const [int1, code] of [
    [13, 'NOT_PERMITTED'],
    [30, 'NOT_PERMITTED'],
    [2, 'MOVED'],
    [5, 'DRIVER_FAILED'],
  ] as const) {
    const driver = await driverOf((socket, frame, { call }) => {
      const error = { ...failure, code: 38, int1, message: 'Unable to open resource' };
      socket.write(call === 'acquire' ? encodeLockReply(frame, error) : encodeLockReply(frame));
    });
    assert.equal((await refusal(driver)).code, code);
  }
});

test('a lock that was never taken is not believed', async () => {
  const calls: string[] = [];
  const driver = await driverOf((socket, frame, { call }) => {
    calls.push(call);
    socket.write(encodeLockReply(frame));
  });
  const error = await refusal(driver);
  assert.match(error.message, /says that it locked .*, but that is not locked/);
  assert.deepEqual(calls, ['register', 'acquire', 'release']);
});

test(
  'the socket of another user',
  { skip: process.getuid?.() === 0 ? 'root may connect' : false },
  async () => {
    const driver = await driverOf(() => undefined);
    chmodSync(join(folder, `sock-${count - 1}`), 0);
    assert.equal((await refusal(driver)).code, 'NOT_PERMITTED');
  },
);

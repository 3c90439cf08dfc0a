import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fuzzProtocol } from '../../bench/fuzz-protocol.js';
import {
  decodeLockCall,
  encodeLockCall,
  encodeLockReply,
  lockFrameBytesMax,
  lockProcedure,
  lockProgram,
  lockStringBytesMax,
  lockVersion,
  type LockCall,
} from '../../src/protocol/lock-protocol.js';
import { ProtocolError } from '../../src/protocol/protocol-error.js';
import {
  decodeRpcError,
  encodeRpcError,
  errorPayloadBytesMax,
  errorStringBytesMax,
  type RpcError,
} from '../../src/protocol/rpc-error.js';
import { FrameReader, rpcStatus, rpcType, type RpcFrame } from '../../src/protocol/rpc-frame.js';

const word = fc.integer({ min: 0, max: 0xffffffff });
const text = fc.string({ unit: 'grapheme', maxLength: 60 }).filter((value) => !value.includes('\0'));
const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes));
const resource = { path: text, name: text, flags: word };
const plain = { noNullPrototype: true } as const;
const call: fc.Arbitrary<LockCall> = fc.oneof(
  fc.record(
    {
      call: fc.constant('register' as const),
      owner: fc.record({ uuid, name: text, id: word, pid: word }, plain),
      flags: word,
    },
    plain,
  ),
  fc.record({ call: fc.constant('restrict' as const), flags: word }, plain),
  fc.record({ call: fc.constant('newLockspace' as const), path: text, flags: word }, plain),
  fc.record({ call: fc.constant('createLockspace' as const), path: text }, plain),
  fc.record(
    { call: fc.constantFrom('createResource', 'deleteResource', 'acquire', 'release'), ...resource },
    plain,
  ) as fc.Arbitrary<LockCall>,
);

function onlyFrame(bytes: Buffer): RpcFrame {
  const frames: RpcFrame[] = [];
  new FrameReader(lockFrameBytesMax).push(bytes, (frame) => frames.push(frame));
  const [frame] = frames;
  assert.ok(frame !== undefined && frames.length === 1);
  return frame;
}

test('a call is read as it was written', () => {
  fc.assert(
    fc.property(call, word, (given, serial) => {
      const frame = onlyFrame(encodeLockCall(given, serial));
      assert.deepEqual(decodeLockCall(frame), given);
      const { payload: _, ...header } = frame;
      assert.deepEqual(header, {
        program: lockProgram,
        version: lockVersion,
        procedure: lockProcedure[given.call],
        type: rpcType.call,
        serial,
        status: rpcStatus.ok,
      });
    }),
  );
});

test('a call that is cut short is refused', () => {
  fc.assert(
    fc.property(call, fc.nat(), (given, at) => {
      const { procedure, payload } = onlyFrame(encodeLockCall(given, 1));
      const short = { procedure, payload: payload.subarray(0, at % payload.length) };
      assert.throws(() => decodeLockCall(short), ProtocolError);
    }),
  );
});

test('a call with a bit turned over is another call, or refused', () => {
  fc.assert(
    fc.property(call, fc.nat(), (given, at) => {
      const { procedure, payload } = onlyFrame(encodeLockCall(given, 1));
      const bit = at % (payload.length * 8);
      payload[bit >> 3] = (payload[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      try {
        decodeLockCall({ procedure, payload });
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
      }
    }),
  );
});

test('the bytes of REGISTER are those that libvirt sends', () => {
  const owner = {
    uuid: Buffer.from('c7a5fdbdedaf9455926ad65c16db1809', 'hex'),
    name: 'web1',
    id: 3,
    pid: 4711,
  };
  const bytes = encodeLockCall({ call: 'register', owner, flags: 0 }, 0);
  assert.equal(
    bytes.toString('hex'),
    [
      '00000040', // 64 bytes, the length itself included
      '0ea7beef',
      '00000001',
      '00000001',
      '00000000',
      '00000000',
      '00000000',
      'c7a5fdbdedaf9455926ad65c16db1809',
      '00000004',
      '77656231',
      '00000003',
      '00001267',
      '00000000',
    ].join(''),
  );
});

test('strings may be as long as the protocol says, and no longer', () => {
  const longest = 'x'.repeat(lockStringBytesMax);
  const most: LockCall = { call: 'acquire', path: longest, name: longest, flags: 3 };
  const bytes = encodeLockCall(most, 1);
  assert.equal(bytes.length, lockFrameBytesMax);
  assert.deepEqual(decodeLockCall(onlyFrame(bytes)), most);
  assert.throws(() => encodeLockCall({ call: 'createLockspace', path: `${longest}x` }, 1), ProtocolError);
});

test('there is no ninth procedure', () => {
  for (const procedure of [0, 9, -1]) {
    assert.throws(() => decodeLockCall({ procedure, payload: Buffer.alloc(200) }), ProtocolError);
  }
});

const maybe = fc.option(text, { nil: undefined });
const rpcError: fc.Arbitrary<RpcError> = fc
  .record({
    code: fc.integer(),
    domain: fc.integer(),
    message: maybe,
    level: fc.integer(),
    guest: fc.option(fc.record({ name: text, uuid, id: fc.integer() }), { nil: undefined }),
    str1: maybe,
    str2: maybe,
    str3: maybe,
    int1: fc.integer(),
    int2: fc.integer(),
    network: fc.option(fc.record({ name: text, uuid }), { nil: undefined }),
  })
  .map((given) => JSON.parse(JSON.stringify(given), reviveBuffer) as RpcError);

/** What is undefined is not there: so errors come from the wire. */
function reviveBuffer(_: string, value: unknown): unknown {
  const { type, data } = (value ?? {}) as { type?: unknown; data?: number[] };
  return type === 'Buffer' ? Buffer.from(data ?? []) : value;
}

test('an error is read as it was written, and refused when it is cut short', () => {
  fc.assert(
    fc.property(rpcError, fc.nat(), (given, at) => {
      const payload = encodeRpcError(given);
      assert.deepEqual(decodeRpcError(payload), given);
      assert.throws(() => decodeRpcError(payload.subarray(0, at % payload.length)), ProtocolError);
    }),
  );
});

test('a message is cut to what libvirt would send, and not through a character', () => {
  const base = { code: 1, domain: 51, level: 2, int1: 0, int2: 0 };
  const cut = (message: string): string => decodeRpcError(encodeRpcError({ ...base, message })).message ?? '';
  assert.equal(cut('x'.repeat(errorStringBytesMax)), 'x'.repeat(errorStringBytesMax));
  assert.equal(cut(`${'x'.repeat(errorStringBytesMax - 1)}ä`), 'x'.repeat(errorStringBytesMax - 1));
  assert.equal(cut('a\0b\uD800c'), 'a\uFFFDb\uFFFDc');
  const longest = 'x'.repeat(2000);
  const full = encodeRpcError({
    ...base,
    message: longest,
    guest: { name: longest, uuid: Buffer.alloc(16), id: 1 },
    str1: longest,
    str2: longest,
    str3: longest,
    network: { name: longest, uuid: Buffer.alloc(16) },
  });
  assert.ok(full.length <= errorPayloadBytesMax);
});

test('a reply has the procedure and serial of its call', () => {
  const done = onlyFrame(encodeLockReply({ procedure: 6, serial: 9 }));
  assert.deepEqual(
    [done.procedure, done.serial, done.type, done.status, done.payload.length],
    [6, 9, 1, 0, 0],
  );
  const failed = onlyFrame(
    encodeLockReply(
      { procedure: 6, serial: 9 },
      { code: 87, domain: 51, message: 'held', level: 2, int1: 0, int2: 0 },
    ),
  );
  assert.equal(failed.status, rpcStatus.error);
  assert.equal(decodeRpcError(failed.payload).message, 'held');
});

test('spoilt frames do no harm', () => {
  for (const seed of [1, 20100910]) {
    const { whole, read, refused } = fuzzProtocol({ frames: 5000, seed });
    assert.ok(whole > 2000 && read > 1000, 'the fuzzer gets through to the decoders');
    assert.deepEqual(Object.keys(refused).toSorted(), ['bad value', 'framing lost', 'too long', 'truncated']);
  }
});

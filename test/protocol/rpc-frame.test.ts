import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { watchAllocations } from '../../bench/fuzz-protocol.js';
import { ProtocolError } from '../../src/protocol/protocol-error.js';
import {
  encodeFrame,
  frameBytesMaxOfLibvirt,
  frameBytesMin,
  FrameReader,
  type RpcFrame,
  type RpcHeader,
} from '../../src/protocol/rpc-frame.js';

const header: fc.Arbitrary<RpcHeader> = fc.record({
  program: fc.integer({ min: 0, max: 0xffffffff }),
  version: fc.integer({ min: 0, max: 0xffffffff }),
  procedure: fc.integer(),
  type: fc.integer(),
  serial: fc.integer({ min: 0, max: 0xffffffff }),
  status: fc.integer(),
});
const frame: fc.Arbitrary<RpcFrame> = fc
  .tuple(header, fc.uint8Array({ maxLength: 300 }))
  .map(([fields, payload]) => ({ ...fields, payload: Buffer.from(payload) }));
const isLoss = (error: unknown): boolean => error instanceof ProtocolError && error.fault === 'framing lost';

function pushAll(reader: FrameReader, bytes: Buffer, pieces: readonly number[]): RpcFrame[] {
  const frames: RpcFrame[] = [];
  // A payload may share memory with the chunk, which a socket uses again.
  const take = (whole: RpcFrame): void => void frames.push({ ...whole, payload: Buffer.from(whole.payload) });
  let left = bytes;
  for (let n = 0; left.length > 0; n++) {
    const size = pieces.length === 0 ? left.length : (pieces[n % pieces.length] ?? 1);
    const chunk = Buffer.from(left.subarray(0, size));
    reader.push(chunk, take);
    chunk.fill(0xee);
    left = left.subarray(size);
  }
  return frames;
}

test('frames come out as they went in, however the bytes are cut', () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 6 });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), pieces, (frames, sizes) => {
      const reader = new FrameReader();
      const bytes = Buffer.concat(frames.map((each) => encodeFrame(each, each.payload)));
      assert.deepEqual(pushAll(reader, bytes, sizes), frames);
      assert.equal(reader.unfinished, 0);
    }),
  );
});

test('what is cut short is unfinished, and no frame', () => {
  fc.assert(
    fc.property(frame, fc.nat(), (each, at) => {
      const bytes = encodeFrame(each, each.payload);
      const cut = at % bytes.length;
      const reader = new FrameReader();
      assert.deepEqual(pushAll(reader, bytes.subarray(0, cut), []), []);
      assert.equal(reader.unfinished, cut);
    }),
  );
});

const lengthWord = (length: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
};

for (const [length, lost] of [
  [0, true],
  [4, true],
  [frameBytesMin - 1, true],
  [frameBytesMin, false],
  [1000, false],
  [1001, true],
  [0x80000000, true],
  [0xffffffff, true],
] as const) {
  test(`a length of ${length} ${lost ? 'loses the framing' : 'is awaited'}, where 1000 is the most`, () => {
    for (const pieces of [[4], [1], [3, 1]]) {
      const reader = new FrameReader(1000);
      const push = (): unknown => pushAll(reader, lengthWord(length), pieces);
      if (!lost) {
        push();
        assert.equal(reader.unfinished, 4);
        continue;
      }
      assert.throws(push, isLoss);
      assert.throws(() => reader.push(lengthWord(100), () => undefined), isLoss, 'and it stays lost');
      assert.equal(reader.unfinished, 0);
    }
  });
}

test('frames before the loss are given', () => {
  const reader = new FrameReader();
  const good = encodeFrame(
    { program: 1, version: 1, procedure: 1, type: 0, serial: 7, status: 0 },
    Buffer.from('abcd'),
  );
  const serials: number[] = [];
  assert.throws(
    () => reader.push(Buffer.concat([good, good, lengthWord(3)]), ({ serial }) => serials.push(serial)),
    isLoss,
  );
  assert.deepEqual(serials, [7, 7]);
});

test('a frame that claims 32 MiB costs what has come of it', () => {
  const reader = new FrameReader();
  const { count, largest } = watchAllocations(() => {
    reader.push(lengthWord(frameBytesMaxOfLibvirt), () => undefined);
    for (let n = 0; n < 1000; n++) reader.push(Buffer.from('x'), () => undefined);
  });
  assert.equal(reader.unfinished, 1004);
  assert.ok(largest <= 2048, `${largest} bytes were allocated`);
  assert.ok(count < 20, 'it grows by doubling');
});

test('what does not fit into a frame is not sent', () => {
  const fields = { program: 1, version: 1, procedure: 1, type: 0, serial: 0, status: 0 };
  assert.throws(() => encodeFrame({ ...fields, serial: 2 ** 32 }, Buffer.alloc(0)), ProtocolError);
  assert.throws(() => encodeFrame({ ...fields, program: -1 }, Buffer.alloc(0)), ProtocolError);
  assert.throws(() => encodeFrame(fields, Buffer.alloc(frameBytesMaxOfLibvirt)), ProtocolError);
});

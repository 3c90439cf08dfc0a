/**
 * Bytes that no sane peer sends, a million frames and more: `node --import tsx bench/fuzz-protocol.ts [FRAMES] [SEED]`.
 *
 * Whatever comes, the protocol's code may throw its own error and nothing else, and no single allocation may
 * be larger than the largest frame. What went wrong can be had again from the seed that is printed.
 */
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';
import {
  decodeLockCall,
  encodeLockCall,
  encodeLockReply,
  lockFrameBytesMax,
  type LockCall,
} from '../src/protocol/lock-protocol.js';
import { ProtocolError } from '../src/protocol/protocol-error.js';
import { decodeRpcError, rpcErrorCode, rpcErrorDomain } from '../src/protocol/rpc-error.js';
import { FrameReader, rpcStatus, type RpcFrame } from '../src/protocol/rpc-frame.js';

export interface FuzzOutcome {
  readonly frames: number;
  /** Frames that were cut out of the bytes. */
  readonly whole: number;
  /** Calls and errors that could be read. */
  readonly read: number;
  /** Refusals by their fault. */
  readonly refused: Readonly<Record<string, number>>;
  /** Bytes of the largest single allocation. */
  readonly largest: number;
}

/** xorshift32 (Marsaglia 2003): the same numbers for the same seed, everywhere. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

type Random = ReturnType<typeof randomNumbers>;

const texts = ['', '/var/lib/libvirt/images/a.qcow2', 'äöü', 'x'.repeat(255), '../../etc/shadow'];

function randomCall(random: Random): LockCall {
  const text = (): string => texts[random(texts.length)] ?? '';
  const resource = { path: text(), name: text(), flags: random(8) };
  const calls: readonly LockCall[] = [
    {
      call: 'register',
      owner: { uuid: Buffer.alloc(16, random(256)), name: text(), id: random(9), pid: random(99999) },
      flags: random(2),
    },
    { call: 'restrict', flags: random(3) },
    { call: 'newLockspace', path: text(), flags: 0 },
    { call: 'createResource', ...resource },
    { call: 'deleteResource', ...resource },
    { call: 'acquire', ...resource },
    { call: 'release', ...resource },
    { call: 'createLockspace', path: text() },
  ];
  return calls[random(calls.length)] ?? { call: 'restrict', flags: 0 };
}

function randomFrame(random: Random): Buffer {
  const call = encodeLockCall(randomCall(random), random(1000));
  if (random(4) !== 0) return call;
  const header = { procedure: 1 + random(9), serial: random(1000) };
  const error = {
    code: rpcErrorCode.resourceBusy,
    domain: rpcErrorDomain.lockspace,
    message: texts[random(texts.length)] ?? '',
    level: 2,
    int1: random(200),
    int2: 0,
    ...(random(2) === 0 ? {} : { guest: { name: 'web1', uuid: Buffer.alloc(16), id: 1 } }),
    ...(random(2) === 0 ? {} : { str1: 'a', str2: 'b', str3: 'c' }),
    ...(random(2) === 0 ? {} : { network: { name: 'default', uuid: Buffer.alloc(16) } }),
  };
  return encodeLockReply(header, error);
}

/** Words at which a careless reader of lengths goes wrong. */
const oddWords = [
  0,
  1,
  3,
  4,
  27,
  28,
  0x7fff_ffff,
  0x8000_0000,
  0xffff_ffff,
  65_536,
  65_537,
  lockFrameBytesMax,
];

/** Half of the spoilt frames have a right length still: the others lose the framing, and are over soon. */
function spoil(frame: Buffer, random: Random): Buffer {
  const from = random(2) === 0 ? 0 : 4;
  const place = (bytes: number): number => Math.min(from + random(frame.length), frame.length - bytes);
  switch (random(6)) {
    case 0: {
      const at = place(1);
      frame[at] = (frame[at] ?? 0) ^ (1 << random(8));
      return frame;
    }
    case 1:
      frame[place(1)] = random(256);
      return frame;
    case 2:
      frame.writeUInt32BE(oddWords[random(oddWords.length)] ?? 0, place(4) & ~3);
      return frame;
    case 3: {
      const shorter = frame.subarray(0, random(frame.length));
      if (shorter.length >= 4 && from === 4) shorter.writeUInt32BE(shorter.length, 0);
      return shorter;
    }
    case 4: {
      const at = place(1);
      return Buffer.concat([frame.subarray(0, at), frame.subarray(random(frame.length))]);
    }
    default:
      return frame;
  }
}

/** Runs `work` and says how many buffers it made, and how large the largest was. */
export function watchAllocations(work: () => void): { readonly count: number; readonly largest: number } {
  const originals = { alloc: Buffer.alloc.bind(Buffer), allocUnsafe: Buffer.allocUnsafe.bind(Buffer) };
  let count = 0;
  let largest = 0;
  Buffer.alloc = (size: number, ...rest: []) => {
    count++;
    largest = Math.max(largest, size);
    return originals.alloc(size, ...rest);
  };
  Buffer.allocUnsafe = (size: number) => {
    count++;
    largest = Math.max(largest, size);
    return originals.allocUnsafe(size);
  };
  try {
    work();
  } finally {
    Object.assign(Buffer, originals);
  }
  return { count, largest };
}

/**
 * Feeds that many frames, most of them spoilt, in pieces of any size.
 * @throws Error with the seed and the frame's number if the protocol's code does what it must not
 */
export function fuzzProtocol({
  frames,
  seed,
}: {
  readonly frames: number;
  readonly seed: number;
}): FuzzOutcome {
  const random = randomNumbers(seed);
  const refused: Record<string, number> = {};
  let whole = 0;
  let read = 0;
  const attempt = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      refused[error.fault] = (refused[error.fault] ?? 0) + 1;
    }
  };
  const take = (frame: RpcFrame): void => {
    whole++;
    attempt(() => {
      if (frame.status === rpcStatus.error) decodeRpcError(frame.payload);
      else decodeLockCall(frame);
      read++;
    });
  };

  let reader = new FrameReader(lockFrameBytesMax);
  const { largest } = watchAllocations(() => {
    for (let n = 0; n < frames; n++) {
      try {
        let left = random(8) === 0 ? randomFrame(random) : spoil(randomFrame(random), random);
        while (left.length > 0) {
          const piece = left.subarray(0, random(3) === 0 ? 1 + random(40) : left.length);
          left = left.subarray(piece.length);
          try {
            reader.push(piece, take);
          } catch (error) {
            if (!(error instanceof ProtocolError)) throw error;
            refused[error.fault] = (refused[error.fault] ?? 0) + 1;
            reader = new FrameReader(lockFrameBytesMax); // The connection is closed, and another one comes.
            break;
          }
        }
        if (reader.unfinished > lockFrameBytesMax) throw new Error(`${reader.unfinished} bytes are kept`);
        // Else a frame that claims to be long would swallow hundreds of those that follow.
        if (reader.unfinished > 2000) reader = new FrameReader(lockFrameBytesMax);
      } catch (cause) {
        throw new Error(`frame ${n} of seed ${seed}: ${String(cause)}`, { cause });
      }
    }
  });
  if (largest > lockFrameBytesMax) throw new Error(`seed ${seed}: ${largest} bytes were allocated at once`);
  return { frames, whole, read, refused, largest };
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) {
  const frames = Number(argv[2] ?? 1_000_000);
  const seed = Number(argv[3] ?? Date.now() % 2 ** 31);
  const start = performance.now();
  const outcome = fuzzProtocol({ frames, seed });
  const seconds = (performance.now() - start) / 1000;
  process.stdout.write(
    `${frames} frames of seed ${seed} in ${seconds.toFixed(1)} s, ${Math.round(frames / seconds)} a second\n` +
      `${JSON.stringify(outcome)}\n`,
  );
}

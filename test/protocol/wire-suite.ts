/**
 * What a server of the lock program answers, call by call: the same cases for virtlockd and for whoever takes its place.
 *
 * The answers are those of virtlockd 9.0. Where another server differs on purpose, `differences` of its run name the
 * step and say why. An answer is `ok`, `CODE/DOMAIN MESSAGE` (` [INT1]` behind it where that is not -1), `closed`, or
 * `nothing`. In it, FOLDER stands for the folder of the case, PID for the pid that the step's owner has.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeLockCall, lockProgram, lockVersion, type LockCall } from '../../src/protocol/lock-protocol.js';
import { decodeRpcError, rpcErrorLevel, type RpcError } from '../../src/protocol/rpc-error.js';
import {
  encodeFrame,
  rpcStatus,
  rpcType,
  type RpcFrame,
  type RpcHeader,
} from '../../src/protocol/rpc-frame.js';
import { testLock, tryLock } from '../../src/system/ofd-lock.js';
import { LockClient } from '../beds/lock-client.js';
import { until } from '../beds/until.js';

export interface WireServer {
  readonly name: string;
  readonly socket: string;
  /** A process that never ends and that no client is: the pid of owners whose connections mean nothing. */
  readonly pid: number;
  /** A folder that the server sees under the same path. */
  readonly folder: string;
  /** What the server adds to virtlockd's own messages. */
  readonly adds?: RegExp;
}

/** `CASE: STEP`, with the other answer and the reason. */
export type Differences = Readonly<Record<string, { readonly answer: string; readonly why: string }>>;

export interface WireCase {
  readonly name: string;
  readonly run: (bench: WireBench) => Promise<void>;
}

const uuid = Buffer.from('c7a5fdbdedaf9455926ad65c16db1809', 'hex');
/** Nobody answers what is to be ignored; a moment has to be enough to know. */
const silenceMs = 300;
const shared = 1;
const autocreate = 2;

/** One case's view of a server. */
export class WireBench {
  /** Its own, empty. */
  readonly folder: string;
  readonly #server: WireServer;
  readonly #case: string;
  readonly #differences: Differences;
  readonly #used: Set<string>;
  readonly #clients = new Map<string, LockClient>();
  #steps = 0;

  constructor(server: WireServer, name: string, differences: Differences, used: Set<string>) {
    this.#server = server;
    this.#case = name;
    this.#differences = differences;
    this.#used = used;
    this.folder = join(server.folder, name.replaceAll(/[^a-z0-9]+/gi, '-'));
    mkdirSync(this.folder);
  }

  get socket(): string {
    return this.#server.socket;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async client(label: string): Promise<LockClient> {
    const client = this.#clients.get(label) ?? (await LockClient.connect(this.#server.socket));
    this.#clients.set(label, client);
    return client;
  }

  close(label: string): void {
    this.#clients.get(label)?.close();
    this.#clients.delete(label);
  }

  end(): void {
    for (const label of [...this.#clients.keys()]) this.close(label);
  }

  /** Makes a call on the connection of that label, and compares the answer. */
  async call(label: string, call: LockCall, expected: string): Promise<void> {
    const client = await this.client(label);
    const error = await client.call(call).catch(() => 'closed' as const);
    this.#compare(expected, error === 'closed' ? error : error === undefined ? 'ok' : this.#text(error));
  }

  /** Registers a connection for an owner: that of the server's own pid if none is given. */
  async register(
    label: string,
    pid: number = this.#server.pid,
    expected = 'ok',
    id = 1,
    flags = 0,
  ): Promise<void> {
    await this.call(label, { call: 'register', owner: { uuid, name: 'web1', id, pid }, flags }, expected);
  }

  async acquire(label: string, path: string, name: string, flags: number, expected = 'ok'): Promise<void> {
    await this.call(label, { call: 'acquire', path, name, flags }, expected);
  }

  async release(label: string, path: string, name: string, expected = 'ok', flags = 0): Promise<void> {
    await this.call(label, { call: 'release', path, name, flags }, expected);
  }

  /** Sends bytes on a new connection, and compares what comes back for them. */
  async send(bytes: Buffer, expected: string): Promise<void> {
    const client = await LockClient.connect(this.#server.socket);
    try {
      client.send(bytes);
      const patience = expected === 'nothing' ? silenceMs : undefined;
      const frame = await client.nextWithin(patience ?? 10_000);
      this.#compare(expected, typeof frame === 'string' ? frame : this.#frameText(frame));
    } finally {
      client.close();
    }
  }

  #compare(expected: string, answer: string): void {
    const step = `${this.#case}: ${++this.#steps}`;
    const difference = this.#differences[step];
    if (difference !== undefined) this.#used.add(step);
    assert.equal(answer, difference?.answer ?? expected, `${step} (${this.#server.name})`);
  }

  #frameText({ payload, ...header }: RpcFrame): string {
    const { program, version, procedure, type, serial, status } = header;
    const text =
      status === rpcStatus.error ? this.#text(decodeRpcError(payload)) : `ok, ${payload.length} bytes`;
    return `${program.toString(16)}/${version}/${procedure} type ${type} serial ${serial}: ${text}`;
  }

  #text({ code, domain, message = '', level, int1 }: RpcError): string {
    assert.equal(level, rpcErrorLevel.error);
    const words = (this.#server.adds === undefined ? message : message.replace(this.#server.adds, ''))
      .replaceAll(this.folder, 'FOLDER')
      .replaceAll(new RegExp(`\\b${this.#server.pid}\\b`, 'g'), 'PID');
    return `${code}/${domain} ${words}${int1 === -1 ? '' : ` [${int1}]`}`;
  }
}

/** Whether the kernel has a lock at byte 0 of a file, which nobody in this process has. */
function isLocked(path: string): 'write' | 'read' | 'no' {
  const fd = openSync(path, 'r');
  try {
    return testLock(fd, 'write', 0)?.type ?? 'no';
  } finally {
    closeSync(fd);
  }
}

/** A process that connects, registers itself, and acquires; it says so, then does what it is told on its input. */
async function holdingProcess(
  bench: WireBench,
  resources: readonly (readonly [path: string, name: string, flags: number])[],
  says = 'held',
  before: readonly string[] = [],
): Promise<{ pid: number; tell: (what: 'close' | 'exit') => void; ended: Promise<string> }> {
  const program = fileURLToPath(new URL('../beds/lock-holder.ts', import.meta.url));
  const args = [
    ...before,
    process.execPath,
    '--import',
    'tsx',
    program,
    bench.socket,
    JSON.stringify(resources),
  ];
  const child = spawn(args[0] ?? '', args.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(([code, signal]) => String(signal ?? code));
  const [said] = (await Promise.race([once(child.stdout, 'data'), ended.then((how) => [how])])) as [unknown];
  assert.equal(String(said).trim(), says);
  return { pid: child.pid ?? 0, tell: (what) => void child.stdin.write(`${what}\n`), ended };
}

const notRegistered = '55/7 Requested operation is not valid: lock owner details have not been registered';
const restricted = '29/7 operation forbidden: lock manager connection has been restricted';
const unsupported = (flags: number, name: string): string =>
  `8/7 unsupported flags (0x${flags.toString(16)}) in function virLockSpaceProtocolDispatch${name} [0]`;
const busy = (name: string): string => `87/51 resource busy: Lockspace resource '${name}' is locked`;
const cannotDecode = '39/7 Unable to decode message payload';

const header: RpcHeader = {
  program: lockProgram,
  version: lockVersion,
  procedure: 2,
  type: rpcType.call,
  serial: 5,
  status: rpcStatus.ok,
};
const lengthWord = (length: number, bytes = 28): Buffer => {
  const word = Buffer.alloc(bytes);
  word.writeUInt32BE(length);
  return word;
};

export const wireCases: readonly WireCase[] = [
  {
    name: 'unregistered',
    async run(bench) {
      const file = bench.path('file');
      writeFileSync(file, '');
      const resource = { path: '', name: file, flags: 0 };
      await bench.call('a', { call: 'acquire', ...resource }, notRegistered);
      await bench.call('a', { call: 'release', ...resource }, notRegistered);
      await bench.call('a', { call: 'createResource', ...resource }, notRegistered);
      await bench.call('a', { call: 'deleteResource', ...resource }, notRegistered);
      await bench.call('a', { call: 'newLockspace', path: bench.path('new'), flags: 0 }, notRegistered);
      await bench.call('a', { call: 'restrict', flags: 0 }, notRegistered);
      assert.equal(existsSync(bench.path('new')), false);
      await bench.call('a', { call: 'createLockspace', path: bench.path('made') }, 'ok');
      assert.equal(statSync(bench.path('made')).mode & 0o7777, 0o700);
    },
  },
  {
    name: 'register',
    async run(bench) {
      await bench.register('a', undefined, notRegistered, 0);
      await bench.register('a', undefined, unsupported(1, 'Register'), 1, 1);
      await bench.call('a', { call: 'restrict', flags: 0 }, notRegistered);
      await bench.register('a');
      // A second registration takes the place of the first.
      await bench.register('a', 1);
      const file = bench.path('file');
      writeFileSync(file, '');
      await bench.acquire('a', '', file, 0);
      await bench.register('b');
      await bench.release('b', '', file, '1/51 internal error: owner PID does not hold the resource lock');
      await bench.register('b', 1);
      await bench.release('b', '', file);
    },
  },
  {
    name: 'restrict',
    async run(bench) {
      await bench.register('a');
      await bench.call('a', { call: 'restrict', flags: 1 }, unsupported(1, 'Restrict'));
      await bench.call('a', { call: 'restrict', flags: 0 }, 'ok');
      await bench.call('a', { call: 'restrict', flags: 0 }, restricted);
      await bench.register('a', undefined, restricted);
      const resource = { path: '', name: bench.path('x'), flags: 0 };
      await bench.call('a', { call: 'acquire', ...resource }, restricted);
      await bench.call('a', { call: 'release', ...resource }, restricted);
      await bench.call('a', { call: 'createResource', ...resource }, restricted);
      await bench.call('a', { call: 'deleteResource', ...resource }, restricted);
      await bench.call('a', { call: 'newLockspace', path: bench.path('n'), flags: 0 }, restricted);
      await bench.call('a', { call: 'createLockspace', path: bench.path('n') }, restricted);
    },
  },
  {
    name: 'lockspaces',
    async run(bench) {
      const path = bench.path('space');
      await bench.register('a');
      await bench.call('a', { call: 'newLockspace', path, flags: 1 }, unsupported(1, 'New'));
      await bench.acquire(
        'a',
        path,
        'r',
        autocreate,
        '1/7 internal error: Lockspace for path FOLDER/space does not exist',
      );
      await bench.call('a', { call: 'newLockspace', path, flags: 0 }, 'ok');
      assert.equal(statSync(path).mode & 0o7777, 0o700);
      await bench.call(
        'a',
        { call: 'newLockspace', path, flags: 0 },
        '1/7 internal error: Lockspace for path FOLDER/space already exists',
      );
      await bench.call('a', { call: 'createLockspace', path }, 'ok');
      await bench.call(
        'a',
        { call: 'newLockspace', path: '', flags: 0 },
        '55/7 Requested operation is not valid: the default lockspace already exists',
      );
      writeFileSync(bench.path('file'), '');
      await bench.call(
        'a',
        { call: 'createLockspace', path: bench.path('file') },
        '1/51 internal error: Lockspace location FOLDER/file exists, but is not a directory',
      );
      // A lockspace that somebody made is everybody's.
      await bench.register('b');
      await bench.acquire('b', path, 'r', autocreate);
      await bench.release('b', path, 'r');
    },
  },
  {
    name: 'resources in a lockspace',
    async run(bench) {
      const path = bench.path('space');
      const resource = { path, name: 'r', flags: 0 };
      await bench.call('a', { call: 'createLockspace', path }, 'ok');
      await bench.register('a');
      await bench.acquire(
        'a',
        path,
        'r',
        0,
        '38/51 Unable to open resource FOLDER/space/r: No such file or directory [2]',
      );
      await bench.call(
        'a',
        { call: 'createResource', ...resource, flags: 1 },
        unsupported(1, 'CreateResource'),
      );
      await bench.call('a', { call: 'createResource', ...resource }, 'ok');
      await bench.call('a', { call: 'createResource', ...resource }, 'ok');
      assert.equal(statSync(join(path, 'r')).mode & 0o7777, 0o600);
      await bench.acquire('a', path, 'r', 0);
      assert.equal(isLocked(join(path, 'r')), 'write');
      await bench.call('a', { call: 'createResource', ...resource }, busy('r'));
      await bench.call('a', { call: 'deleteResource', ...resource }, busy('r'));
      await bench.release('a', path, 'r');
      assert.deepEqual(readdirSync(path), ['r'], 'what was not created for the lock stays');
      await bench.call(
        'a',
        { call: 'deleteResource', ...resource, flags: 1 },
        unsupported(1, 'DeleteResource'),
      );
      await bench.call('a', { call: 'deleteResource', ...resource }, 'ok');
      await bench.call('a', { call: 'deleteResource', ...resource }, 'ok');
      assert.deepEqual(readdirSync(path), []);
    },
  },
  {
    name: 'autocreate',
    async run(bench) {
      const path = bench.path('space');
      await bench.call('a', { call: 'createLockspace', path }, 'ok');
      await bench.register('a');
      await bench.acquire('a', path, 'r', autocreate);
      assert.equal(statSync(join(path, 'r')).mode & 0o7777, 0o600);
      assert.equal(isLocked(join(path, 'r')), 'write');
      await bench.release('a', path, 'r');
      assert.deepEqual(readdirSync(path), []);
      await bench.acquire('a', path, 'r', shared | autocreate);
      assert.equal(isLocked(join(path, 'r')), 'read');
      await bench.release('a', path, 'r');
      assert.deepEqual(readdirSync(path), []);
    },
  },
  {
    name: 'direct',
    async run(bench) {
      const file = bench.path('file');
      writeFileSync(file, 'data');
      await bench.register('a');
      await bench.acquire('a', '', file, 0);
      assert.equal(isLocked(file), 'write');
      await bench.release('a', '', file);
      assert.equal(isLocked(file), 'no');
      assert.equal(existsSync(file), true);
      await bench.acquire(
        'a',
        '',
        bench.path('none'),
        0,
        '38/51 Unable to open resource FOLDER/none: No such file or directory [2]',
      );
      await bench.acquire(
        'a',
        '',
        bench.folder,
        0,
        '38/51 Unable to open resource FOLDER: Is a directory [21]',
      );
      await bench.acquire('a', '', '', 0, '38/51 Unable to open resource : No such file or directory [2]');
      await bench.acquire('a', '', file, 4, unsupported(4, 'AcquireResource'));
      await bench.release('a', '', file, unsupported(8, 'ReleaseResource'), 8);
    },
  },
  {
    name: 'conflicts',
    async run(bench) {
      const file = bench.path('file');
      writeFileSync(file, '');
      await bench.register('a');
      await bench.register('b', 1);
      await bench.acquire('a', '', file, 0);
      await bench.acquire('b', '', file, 0, busy(file.replace(bench.folder, 'FOLDER')));
      await bench.acquire('b', '', file, shared, busy('FOLDER/file'));
      // The same owner who asks again is refused as well.
      await bench.acquire('a', '', file, 0, busy('FOLDER/file'));
      await bench.release('b', '', file, '1/51 internal error: owner 1 does not hold the resource lock');
      await bench.release('a', '', file);
      await bench.release(
        'a',
        '',
        file,
        "87/51 resource busy: Lockspace resource 'FOLDER/file' is not locked",
      );
      await bench.acquire('b', '', file, 0);
      await bench.release('b', '', file);
    },
  },
  {
    name: 'shared owners',
    async run(bench) {
      const path = bench.path('space');
      await bench.call('a', { call: 'createLockspace', path }, 'ok');
      await bench.register('a');
      await bench.register('b', 1);
      await bench.acquire('a', path, 'r', shared | autocreate);
      await bench.acquire('a', path, 'r', shared | autocreate);
      await bench.acquire('b', path, 'r', shared | autocreate);
      await bench.acquire('b', path, 'r', autocreate, busy('r'));
      await bench.release('a', path, 'r');
      await bench.release('a', path, 'r');
      await bench.release('a', path, 'r', '1/51 internal error: owner PID does not hold the resource lock');
      assert.equal(isLocked(join(path, 'r')), 'read');
      await bench.release('b', path, 'r');
      assert.deepEqual(readdirSync(path), []);
    },
  },
  {
    name: 'a lock of another program',
    async run(bench) {
      const file = bench.path('file');
      writeFileSync(file, '');
      const fd = openSync(file, 'r+');
      try {
        await bench.register('a');
        assert.ok(tryLock(fd, 'read', 0));
        await bench.acquire('a', '', file, 0, busy('FOLDER/file'));
        await bench.acquire('a', '', file, shared);
        await bench.release('a', '', file);
        assert.ok(tryLock(fd, 'write', 0));
        await bench.acquire('a', '', file, shared, busy('FOLDER/file'));
      } finally {
        closeSync(fd);
      }
      await bench.acquire('a', '', file, 0);
      await bench.release('a', '', file);
    },
  },
  {
    name: 'peers of another user',
    async run(bench) {
      assert.equal(statSync(bench.socket).mode & 0o077, 0, 'nobody else may connect');
      // It may pass the socket's permissions, and is somebody else all the same.
      const rights = '+dac_override,+dac_read_search';
      const stranger = await holdingProcess(bench, [], 'closed', [
        'setpriv',
        '--reuid=65534',
        `--inh-caps=${rights}`,
        `--ambient-caps=${rights}`,
      ]);
      await stranger.ended;
    },
  },
  {
    name: 'names that lead elsewhere',
    async run(bench) {
      const path = bench.path('space');
      await bench.call('a', { call: 'createLockspace', path }, 'ok');
      await bench.register('a');
      await bench.acquire('a', path, '../outside', autocreate);
      await bench.release('a', path, '../outside');
      await bench.acquire(
        'a',
        path,
        '',
        autocreate,
        '38/51 Unable to open/create resource FOLDER/space/: Is a directory [21]',
      );
      writeFileSync(bench.path('target'), '');
      symlinkSync(bench.path('target'), join(path, 'link'));
      await bench.acquire('a', path, 'link', 0);
      await bench.release('a', path, 'link');
    },
  },
  {
    name: 'one file by two paths',
    async run(bench) {
      const file = bench.path('file');
      const link = bench.path('link');
      writeFileSync(file, '');
      symlinkSync(file, link);
      await bench.register('a');
      await bench.register('b', 1);
      await bench.acquire('a', '', file, 0);
      await bench.acquire('b', '', link, 0);
      await bench.release('b', '', link);
      await bench.release('a', '', file);
    },
  },
  {
    name: 'procedures, programs and versions that there are not',
    async run(bench) {
      const none = Buffer.alloc(0);
      for (const procedure of [0, 9, -1]) {
        await bench.send(
          encodeFrame({ ...header, procedure }, none),
          `ea7beef/1/${procedure} type 1 serial 5: 39/7 unknown procedure: ${procedure}`,
        );
      }
      await bench.send(
        encodeFrame({ ...header, program: 0x1234 }, none),
        '1234/1/2 type 1 serial 5: 39/7 Cannot find program 4660 version 1',
      );
      await bench.send(
        encodeFrame({ ...header, version: 2 }, none),
        'ea7beef/2/2 type 1 serial 5: 39/7 Cannot find program 245874415 version 2',
      );
      await bench.send(
        encodeFrame({ ...header, status: rpcStatus.error }, none),
        'ea7beef/1/2 type 1 serial 5: 39/7 Unexpected message status 1',
      );
    },
  },
  {
    name: 'frames that are no calls',
    async run(bench) {
      for (const type of [rpcType.reply, rpcType.message, rpcType.stream, 99]) {
        await bench.send(encodeFrame({ ...header, type }, Buffer.alloc(4)), 'nothing');
      }
    },
  },
  {
    name: 'keepalive',
    async run(bench) {
      const ping = { ...header, program: 0x6b656570, procedure: 1, type: rpcType.message, serial: 0 };
      await bench.send(encodeFrame(ping, Buffer.alloc(0)), '6b656570/1/2 type 2 serial 0: ok, 0 bytes');
    },
  },
  {
    name: 'arguments that cannot be read',
    async run(bench) {
      const answer = (procedure: number): string => `ea7beef/1/${procedure} type 1 serial 5: ${cannotDecode}`;
      await bench.send(encodeFrame({ ...header, procedure: 1 }, Buffer.alloc(8)), answer(1));
      const tooLong = lengthWord(65_537, 4 + 65_540);
      await bench.send(encodeFrame({ ...header, procedure: 8 }, tooLong), answer(8));
      const longer = lengthWord(0xffff_ffff, 8);
      await bench.send(encodeFrame({ ...header, procedure: 8 }, longer), answer(8));
    },
  },
  {
    name: 'bytes behind the arguments, and in the padding',
    async run(bench) {
      const call: LockCall = { call: 'createLockspace', path: bench.path('space') };
      const longer = Buffer.concat([encodeLockCall(call, 5), Buffer.alloc(8, 'x')]);
      longer.writeUInt32BE(longer.length);
      await bench.send(longer, 'ea7beef/1/8 type 1 serial 5: ok, 0 bytes');
      for (const name of ['p', 'pp', 'ppp', 'pppp']) {
        const padded = encodeLockCall({ ...call, path: bench.path(name) }, 5);
        const end = padded.lastIndexOf('p') + 1;
        padded.fill(0x41, end);
        await bench.send(padded, 'ea7beef/1/8 type 1 serial 5: ok, 0 bytes');
        assert.equal(existsSync(bench.path(name)), true);
      }
    },
  },
  {
    name: 'a zero byte in a string',
    async run(bench) {
      const bytes = encodeLockCall({ call: 'createLockspace', path: bench.path('zeroXtail') }, 5);
      bytes[bytes.indexOf('Xtail')] = 0;
      await bench.send(bytes, 'ea7beef/1/8 type 1 serial 5: ok, 0 bytes');
    },
  },
  {
    name: 'lost framing',
    async run(bench) {
      await bench.send(lengthWord(0), 'closed');
      await bench.send(lengthWord(3), 'closed');
      await bench.send(lengthWord(4), 'closed');
      await bench.send(lengthWord(27, 27), 'closed');
      await bench.send(lengthWord(4 + 33_554_432 + 1), 'closed');
      await bench.send(Buffer.from('GET / HTTP/1.0\r\n\r\nHost: nowhere.example\r\n'), 'closed');
    },
  },
  {
    name: 'a frame longer than any call can be',
    async run(bench) {
      await bench.send(lengthWord(4 + 33_554_432), 'nothing');
      await bench.send(
        encodeFrame({ ...header, procedure: 8 }, Buffer.concat([lengthWord(0, 4), Buffer.alloc(200_000)])),
        'ea7beef/1/8 type 1 serial 5: ok, 0 bytes',
      );
    },
  },
  {
    name: 'calls that come in pieces, or together',
    async run(bench) {
      const path = bench.path('space');
      const client = await bench.client('a');
      const calls = [1, 2, 3].map((serial) => encodeLockCall({ call: 'createLockspace', path }, serial));
      client.send(Buffer.concat(calls));
      for (const serial of [1, 2, 3]) {
        const frame = await client.next();
        assert.ok(frame !== 'closed');
        assert.equal(frame.serial, serial);
      }
      for (const byte of encodeLockCall({ call: 'createLockspace', path }, 4)) {
        client.send(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const frame = await client.next();
      assert.ok(frame !== 'closed');
      assert.equal(frame.serial, 4);
    },
  },
  {
    name: 'a client that closes early',
    async run(bench) {
      const path = bench.path('space');
      await bench.call('a', { call: 'createLockspace', path }, 'ok');
      const half = await bench.client('half');
      half.send(encodeLockCall({ call: 'createLockspace', path }, 1).subarray(0, 20));
      bench.close('half');
      await bench.register('gone');
      const gone = await bench.client('gone');
      // Its reply finds nobody; the lock is its owner's, who is another process.
      gone.send(encodeLockCall({ call: 'acquire', path, name: 'r', flags: autocreate }, 9));
      gone.endSending();
      await until(() => existsSync(join(path, 'r')), 'the lock of a client that has gone');
      bench.close('gone');
      await bench.register('b', 1);
      await bench.acquire('b', path, 'r', autocreate, busy('r'));
      await bench.register('c');
      await bench.release('c', path, 'r');
    },
  },
  {
    name: 'the end of a connection that is not the owner',
    async run(bench) {
      const file = bench.path('file');
      writeFileSync(file, '');
      await bench.register('a');
      await bench.acquire('a', '', file, 0);
      bench.close('a');
      await bench.register('b', 1);
      await bench.acquire('b', '', file, 0, busy('FOLDER/file'));
      assert.equal(isLocked(file), 'write');
      await bench.register('c');
      await bench.release('c', '', file);
    },
  },
  {
    name: 'the end of the owner',
    async run(bench) {
      const file = bench.path('file');
      const space = bench.path('space');
      writeFileSync(file, '');
      await bench.call('a', { call: 'createLockspace', path: space }, 'ok');
      const holder = await holdingProcess(bench, [
        ['', file, 0],
        [space, 'r', autocreate],
      ]);
      await bench.register('a');
      await bench.acquire('a', '', file, 0, busy('FOLDER/file'));
      holder.tell('exit');
      await holder.ended;
      await until(
        () => isLocked(file) === 'no' && readdirSync(space).length === 0,
        'the locks to be given back',
      );
      await bench.acquire('a', '', file, 0);
      await bench.release('a', '', file);
    },
  },
  {
    name: 'an owner that closes its connection, and lives',
    async run(bench) {
      const file = bench.path('file');
      writeFileSync(file, '');
      const holder = await holdingProcess(bench, [['', file, 0]]);
      holder.tell('close');
      assert.equal(await holder.ended, 'SIGTERM');
      await until(() => isLocked(file) === 'no', 'the lock to be given back');
      const idle = await holdingProcess(bench, []);
      idle.tell('close');
      await bench.register('a');
      idle.tell('exit');
      assert.equal(await idle.ended, '0', 'one that holds nothing is left alone');
    },
  },
];

/** Runs one case against a server. */
export async function runWireCase(
  { name, run }: WireCase,
  server: WireServer,
  differences: Differences = {},
  used: Set<string> = new Set(),
): Promise<void> {
  const bench = new WireBench(server, name, differences, used);
  try {
    await run(bench);
  } finally {
    bench.end();
  }
}

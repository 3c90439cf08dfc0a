/** What the server of libvirt's lock protocol does besides answering: owners that end, peers that misbehave, files that are none. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeLockCall, type LockCall } from '../../../src/protocol/lock-protocol.js';
import { tryLock } from '../../../src/system/ofd-lock.js';
import { LockClient } from '../../beds/lock-client.js';
import { buildLockd, isAlive, startLockd, type Lockd } from '../../beds/lockd.js';
import { lockOn, untilFree } from '../../beds/observed-lock.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { startVirtlockd } from '../../beds/virtlockd.js';
import { lacks } from '../../needs.js';

const folder = privateFolder();
const uuid = Buffer.from('c7a5fdbdedaf9455926ad65c16db1809', 'hex');
const autocreate = 2;
let programs = '';
let names = 0;

const newPath = (): string => join(folder, `thing-${++names}`);

function newDisk(): string {
  const path = newPath();
  writeFileSync(path, '');
  return path;
}

async function connect(socket: string, pid: number = process.ppid): Promise<LockClient> {
  const client = await LockClient.connect(socket);
  const owner = { uuid, name: 'web1', id: 1, pid };
  assert.equal(await client.call({ call: 'register', owner, flags: 0 }), undefined);
  return client;
}

async function ask(client: LockClient, call: LockCall): Promise<string> {
  const error = await client.call(call);
  return error === undefined ? 'ok' : `${error.code} ${error.message}`;
}

const acquire = (client: LockClient, name: string, path = '', flags = 0): Promise<string> =>
  ask(client, { call: 'acquire', path, name, flags });

const release = (client: LockClient, name: string, path = ''): Promise<string> =>
  ask(client, { call: 'release', path, name, flags: 0 });

/** A limit of descriptors for keeper and daemon. */
const limited = (count: number): string[] => ['prlimit', `--nofile=${count}:${count}`];

describe('the server of the lock protocol', { skip: lacks('root') }, () => {
  let lockd: Lockd;
  before(async () => {
    programs = await buildLockd(folder);
    lockd = await startLockd(programs, folder);
  });
  after(() => lockd.stop());

  /** Another server, of a test's own. */
  async function withServer(
    before_: readonly string[],
    work: (server: Lockd) => Promise<void>,
  ): Promise<void> {
    const own = newPath();
    mkdirSync(own);
    const server = await startLockd(programs, own, before_);
    try {
      await work(server);
    } finally {
      server.stop();
    }
  }

  test('the end of an owner is the end of its locks, whoever asked for them', async () => {
    const [own, shared] = [newDisk(), newDisk()];
    const guest = spawn('sleep', ['1000']);
    const client = await connect(lockd.socket, guest.pid);
    const other = await connect(lockd.socket);
    assert.equal(await acquire(client, own), 'ok');
    assert.equal(await acquire(client, shared, '', 1), 'ok');
    assert.equal(await acquire(client, shared, '', 1), 'ok');
    assert.equal(await acquire(other, shared, '', 1), 'ok');
    guest.kill('SIGKILL');
    await untilFree(own);
    assert.equal(lockOn(shared), 'read');
    assert.match(await acquire(client, own), /^29 operation forbidden: there is no process/);
    assert.equal(await release(other, shared), 'ok');
    assert.equal(lockOn(shared), 'none');
    client.close();
    other.close();
    const late = await LockClient.connect(lockd.socket);
    const owner = { uuid, name: 'web1', id: 1, pid: guest.pid ?? 0 };
    assert.match(await ask(late, { call: 'register', owner, flags: 0 }), /there is no process/);
    late.close();
  });

  test('an owner that closes its own connection and does not end when it is told to is killed, and only then its locks are free', async () => {
    const disk = newDisk();
    const program = fileURLToPath(new URL('../../beds/lock-holder.ts', import.meta.url));
    const deaf = `data:text/javascript,process.on('SIGTERM', () => undefined);`;
    const holder = spawn(
      process.execPath,
      ['--import', deaf, '--import', 'tsx', program, lockd.socket, JSON.stringify([['', disk, 0]])],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const ended = once(holder, 'exit');
    const [said] = (await once(holder.stdout, 'data')) as [Buffer];
    assert.equal(String(said).trim(), 'held');
    holder.stdin.write('close\n');
    const signals = (): unknown[] =>
      lockd.lines
        .map((line) => line['event'] as { what: string; facts: { pid: number; signal: number } } | undefined)
        .filter((event) => event?.what === 'owner signalled' && event.facts.pid === holder.pid)
        .map((event) => event?.facts.signal);
    await until(() => signals().length >= 1, 'a signal');
    assert.equal(lockOn(disk), 'write');
    const [, signal] = (await ended) as [unknown, string];
    assert.equal(signal, 'SIGKILL');
    await untilFree(disk);
    assert.deepEqual(signals().slice(0, 8), [15, 15, 15, 15, 15, 15, 15, 9]);
  });

  test('who was not told that he has a lock may ask again; who was told may not', async () => {
    const [told, untold] = [newDisk(), newDisk()];
    const client = await connect(lockd.socket);
    assert.equal(await acquire(client, told), 'ok');
    assert.match(await acquire(client, told), /^87 resource busy: .* is locked by guest "web1"/);
    client.close();
    const again = await connect(lockd.socket);
    assert.match(await acquire(again, told), /^87/);

    // This one goes away without having read the answer.
    const { peer, stop } = await deafPeer(lockd.socket, [
      { call: 'register', owner: { uuid, name: 'web1', id: 1, pid: process.ppid }, flags: 0 },
      { call: 'acquire', path: '', name: untold, flags: 0 },
    ]);
    await until(() => lockOn(untold) === 'write', 'the lock');
    const stranger = await connect(lockd.socket, peer);
    assert.match(await acquire(stranger, untold), /^87/);
    await stop();
    await until(async () => (await acquire(again, untold)) === 'ok', 'the server to know');
    assert.match(await acquire(again, untold), /^87/);
    assert.equal(await release(again, untold), 'ok');
    assert.equal(await release(again, told), 'ok');
    again.close();
    stranger.close();
  });

  test('a lockspace has regular files of its owner alone, and is a directory that nobody else may write to', async () => {
    const client = await connect(lockd.socket);
    const space = newPath();
    assert.equal(await ask(client, { call: 'createLockspace', path: space }), 'ok');
    const file = (name: string, mode: number): string => {
      writeFileSync(join(space, name), '', { mode });
      chmodSync(join(space, name), mode);
      return name;
    };
    assert.equal(await acquire(client, file('own', 0o600), space), 'ok');
    assert.equal(await release(client, 'own', space), 'ok');
    for (const mode of [0o640, 0o604, 0o660, 0o610]) {
      assert.match(
        await acquire(client, file(`${mode}`, mode), space),
        /^29 operation forbidden: .* has mode 06\d\d; in a lockspace only its owner may open it/,
      );
    }
    mkdirSync(join(space, 'directory'));
    assert.match(await acquire(client, 'directory', space), /^38 .*: Is a directory$/);
    execFileSync('mkfifo', ['-m', '0600', join(space, 'fifo')]);
    assert.match(await acquire(client, 'fifo', space), /^29 operation forbidden: .* is no regular file$/);
    for (const call of ['createResource', 'deleteResource'] as const) {
      assert.match(await ask(client, { call, path: space, name: 'fifo', flags: 0 }), /is no regular file$/);
      assert.match(await ask(client, { call, path: '', name: newDisk(), flags: 0 }), /^29 .* is a disk/);
    }
    assert.match(await acquire(client, newDisk(), '', autocreate), /^29 .* is a disk/);
    assert.match(await acquire(client, 'relative/path'), /^29 .* is no absolute path/);

    for (const mode of [0o770, 0o702, 0o777]) {
      const open = newPath();
      mkdirSync(open);
      chmodSync(open, mode);
      assert.match(
        await ask(client, { call: 'createLockspace', path: open }),
        /^29 operation forbidden: Lockspace location .* can be written by others \(mode 07/,
      );
    }
    const theirs = newPath();
    mkdirSync(theirs, { mode: 0o700 });
    chownSync(theirs, 1, 0);
    assert.match(
      await ask(client, { call: 'createLockspace', path: theirs }),
      /^29 operation forbidden: Lockspace location .* belongs to user 1$/,
    );
    const readable = newPath();
    mkdirSync(readable, { mode: 0o755 });
    assert.equal(await ask(client, { call: 'createLockspace', path: readable }), 'ok');
    assert.match(await ask(client, { call: 'createLockspace', path: 'relative' }), /^29 .* no absolute path/);
    client.close();
  });

  test('a disk is a regular file or a block device, and nothing that is opened has to wait', async () => {
    const client = await connect(lockd.socket);
    assert.match(await acquire(client, '/dev/null'), /^29 .* is no regular file or block device$/);
    const fifo = newPath();
    execFileSync('mkfifo', [fifo]);
    assert.match(await acquire(client, fifo), /^29 .* is no regular file or block device$/);
    client.close();
  });

  test("another process has the resource: nobody is killed for it, and the words are virtlockd's", async () => {
    const client = await connect(lockd.socket);
    const disk = newDisk();
    const fd = openSync(disk, 'r+');
    assert.equal(tryLock(fd, 'write', 0), true);
    assert.equal(await acquire(client, disk), `87 resource busy: Lockspace resource '${disk}' is locked`);
    closeSync(fd);
    assert.equal(await acquire(client, disk), 'ok');
    assert.equal(await release(client, disk), 'ok');
    client.close();
  });

  test('garbage ends the connection that it came on, and no other', async () => {
    const disk = newDisk();
    const client = await connect(lockd.socket);
    const frame = encodeLockCall({ call: 'acquire', path: '', name: disk, flags: 0 }, 1);
    for (let round = 0; round < 300; round++) {
      const peer = await LockClient.connect(lockd.socket);
      const bytes = Buffer.from(frame);
      const at = round % frame.length;
      bytes[at] = (bytes[at] ?? 0) ^ (1 + (round % 255));
      peer.send(round % 3 === 0 ? bytes : bytes.subarray(0, at));
      if (round % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      peer.close();
    }
    assert.equal(await acquire(client, disk), 'ok');
    assert.equal(await release(client, disk), 'ok');
    assert.ok(isAlive(lockd.daemonPid()));
    client.close();
  });

  test('who does not read the answers is closed; others are served meanwhile', async () => {
    const other = await connect(lockd.socket);
    const call = { call: 'acquire', path: '/nowhere', name: 'x'.repeat(200), flags: 0 } as const;
    const { stop } = await deafPeer(
      lockd.socket,
      Array.from({ length: 8_000 }, () => call),
      false,
    );
    const disk = newDisk();
    assert.equal(await acquire(other, disk), 'ok');
    assert.equal(await release(other, disk), 'ok');
    await stop();
    other.close();
  });

  test('there are only so many connections, and more when some have closed', () =>
    withServer(limited(400), async (server) => {
      // Seven eighths of the descriptors are the daemon's, half of them its connections'.
      const clients = await Promise.all(Array.from({ length: 200 }, () => LockClient.connect(server.socket)));
      const ping = async (client: LockClient): Promise<boolean> =>
        client.call({ call: 'createLockspace', path: folder }).then(
          () => true,
          () => false,
        );
      const served = await Promise.all(clients.map(ping));
      assert.equal(served.filter((one) => one).length, 175);
      const [first] = clients.filter((_, index) => served[index]);
      first?.close();
      await until(async () => {
        const late = await LockClient.connect(server.socket);
        const isServed = await ping(late);
        late.close();
        return isServed;
      }, 'a place');
      for (const client of clients) client.close();
    }));

  test('without descriptors nobody is accepted for a while, and the processor is not burnt', () =>
    withServer(limited(300), async (server) => {
      const client = await connect(server.socket);
      const unregistered = await LockClient.connect(server.socket);
      const guest = spawn('sleep', ['1000']);
      const disks = Array.from({ length: 300 }, newDisk);
      let count = 0;
      for (const disk of disks) {
        const answer = await acquire(client, disk);
        if (answer !== 'ok') {
          assert.match(answer, /^38 Unable to open resource .*: Too many open files$/);
          break;
        }
        count++;
      }
      assert.ok(count > 200 && count < 270, `${count}`);
      const owner = { uuid, name: 'web2', id: 2, pid: guest.pid ?? 0 };
      const register = (): Promise<string> => ask(unregistered, { call: 'register', owner, flags: 0 });
      assert.match(await register(), /^38 .*cannot be watched: Too many open files$/);
      const waiting = await LockClient.connect(server.socket);
      await server.said('event');
      const ticks = (): number => {
        const fields = readFileSync(`/proc/${server.daemonPid()}/stat`, 'latin1').split(' ');
        return Number(fields[13]) + Number(fields[14]);
      };
      const before_ = ticks();
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      assert.ok(ticks() - before_ < 30, 'of 100 ticks a second');
      for (const disk of disks.slice(0, 5)) assert.equal(await release(client, disk), 'ok');
      assert.equal(await ask(waiting, { call: 'createLockspace', path: folder }), 'ok');
      assert.equal(await register(), 'ok');
      guest.kill('SIGKILL');
      unregistered.close();
      waiting.close();
      client.close();
      for (const disk of disks.slice(5, count)) assert.equal(lockOn(disk), 'write');
    }));

  test(
    'beside a real virtlockd in one lockspace: one of them has it, and files come and go',
    { skip: lacks('unshare', 'virtlockd') },
    async () => {
      const virtlockd = await startVirtlockd(folder);
      try {
        const space = newPath();
        const holders = new Map<string, number>();
        const won = { ours: 0, theirs: 0 };
        const contend = async (who: 'ours' | 'theirs', socket: string): Promise<void> => {
          const client = await connect(socket);
          assert.equal(await ask(client, { call: 'createLockspace', path: space }), 'ok');
          for (let round = 0; round < 600 || won.ours === 0 || won.theirs === 0; round++) {
            const name = `resource-${round % 2}`;
            const answer = await acquire(client, name, space, autocreate);
            if (answer !== 'ok') {
              assert.match(answer, /^87/);
              continue;
            }
            assert.equal(holders.get(name) ?? 0, 0, `${who} got what the other has`);
            holders.set(name, 1);
            won[who]++;
            await new Promise((resolve) => setImmediate(resolve));
            holders.set(name, 0);
            assert.equal(await release(client, name, space), 'ok');
            assert.ok(round < 100_000);
          }
          client.close();
        };
        await Promise.all([contend('ours', lockd.socket), contend('theirs', virtlockd.socket)]);
        assert.deepEqual(readdirSync(space), []);
        assert.ok(won.ours > 0 && won.theirs > 0);
      } finally {
        await virtlockd.stop();
      }
    },
  );
});

/** Somebody who sends calls and never reads; another process, so that its end is seen as that of a peer. */
async function deafPeer(
  socket: string,
  calls: readonly LockCall[],
  lives = true,
): Promise<{ peer: number; stop: () => Promise<void> }> {
  const file = newPath();
  writeFileSync(file, Buffer.concat(calls.map((call, index) => encodeLockCall(call, index))));
  const script = [
    `const socket = require('node:net').connect(${JSON.stringify(socket)});`,
    `socket.pause();`,
    `socket.on('error', () => process.exit(3));`,
    `socket.write(require('node:fs').readFileSync(${JSON.stringify(file)}), () => console.log('sent'));`,
    `setInterval(() => undefined, 1000);`,
  ].join('\n');
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (lives) await once(child.stdout, 'data');
  return {
    peer: child.pid ?? 0,
    async stop() {
      // One that was closed by the server notices when it writes on.
      if (lives) child.kill('SIGKILL');
      await until(() => child.exitCode !== null || child.signalCode !== null, 'the end of the peer').finally(
        () => child.kill('SIGKILL'),
      );
    },
  };
}

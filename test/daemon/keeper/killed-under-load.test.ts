/**
 * The daemon is killed at random moments while many ask it for locks. Whatever an owner was told is so afterwards; what it
 * was not told, it can ask again.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LockClient } from '../../beds/lock-client.js';
import { buildLockd, startLockd, type Lockd } from '../../beds/lockd.js';
import { lockOn } from '../../beds/observed-lock.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const guests = 8;
const resourcesEach = 4;
const kills = 25;
const killMsMax = 80;
const autocreate = 2;

const seed = Number(process.env['HOLDFAST_SEED'] ?? Date.now() % 100_000);
let state = seed;
/** From 0 to below 1, the same for the same seed. */
function random(): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return state / 0x8000_0000;
}

interface Resource {
  readonly lockspace: string;
  readonly name: string;
  /** What its owner knows; of what it asked last it may not know what became of it. */
  held: boolean;
  asked: 'acquire' | 'release' | undefined;
}

const pathOf = ({ lockspace, name }: Resource): string => (lockspace === '' ? name : join(lockspace, name));

class Guest {
  readonly process: ChildProcess = spawn('sleep', ['1000']);
  readonly resources: Resource[];
  readonly #uuid: Buffer;
  readonly #lockd: Lockd;
  #client: LockClient | undefined;
  calls = 0;

  constructor(index: number, lockd: Lockd, resources: Resource[]) {
    this.#uuid = Buffer.alloc(16, index + 1);
    this.#lockd = lockd;
    this.resources = resources;
  }

  /** Asks for this and that until the daemon is gone. */
  async work(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const resource = this.resources[Math.floor(random() * this.resources.length)];
      if (resource === undefined || !(await this.#ask(resource, resource.held ? 'release' : 'acquire')))
        return;
    }
  }

  /** Asks again where it was not told. */
  async settle(): Promise<void> {
    for (const resource of this.resources) {
      const { asked } = resource;
      while (resource.asked !== undefined) await this.#ask(resource, asked ?? 'acquire');
    }
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /** False: there was no answer. */
  async #ask(resource: Resource, call: 'acquire' | 'release'): Promise<boolean> {
    const again = resource.asked === call;
    try {
      this.#client ??= await this.#connect();
      resource.asked = call;
      const { lockspace: path, name } = resource;
      const flags = call === 'acquire' && path !== '' ? autocreate : 0;
      const error = await this.#client.call({ call, path, name, flags });
      const isSettled = again && call === 'release' && error?.message?.endsWith('is not locked') === true;
      assert.ok(error === undefined || isSettled, `${call} ${name}: ${error?.message} (seed ${seed})`);
      resource.held = call === 'acquire';
      resource.asked = undefined;
      this.calls++;
      return true;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      this.close();
      return false;
    }
  }

  async #connect(): Promise<LockClient> {
    const client = await LockClient.connect(this.#lockd.socket);
    const owner = { uuid: this.#uuid, name: 'guest', id: 1, pid: this.process.pid ?? 0 };
    assert.equal(await client.call({ call: 'register', owner, flags: 0 }), undefined);
    return client;
  }
}

const folder = privateFolder();
let lockd: Lockd | undefined;
const all: Guest[] = [];
after(() => {
  for (const guest of all) {
    guest.close();
    guest.process.kill('SIGKILL');
  }
  lockd?.stop();
});

test('killed at random moments under load', { skip: lacks('root') }, async () => {
  lockd = await startLockd(await buildLockd(folder), folder);
  const server = lockd;
  const lockspace = join(folder, 'space');
  mkdirSync(lockspace, { mode: 0o700 });
  for (let index = 0; index < guests; index++) {
    const resources = Array.from({ length: resourcesEach }, (_, each): Resource => {
      const name = `${index}-${each}`;
      const isDisk = each % 2 === 0;
      if (isDisk) writeFileSync(join(folder, name), '');
      return isDisk
        ? { lockspace: '', name: join(folder, name), held: false, asked: undefined }
        : { lockspace, name, held: false, asked: undefined };
    });
    all.push(new Guest(index, server, resources));
  }
  const setUp = await LockClient.connect(server.socket);
  assert.equal(await setUp.call({ call: 'createLockspace', path: lockspace }), undefined);
  setUp.close();

  const resources = all.flatMap((guest) => guest.resources);
  let inFlight = 0;
  for (let time = 1; time <= kills; time++) {
    let isOver = false;
    const work = Promise.all(all.map((guest) => guest.work(() => isOver)));
    await new Promise((resolve) => setTimeout(resolve, random() * killMsMax));
    process.kill(server.daemonPid(), 'SIGKILL');
    await server.served(time + 1);
    isOver = true;
    await work;
    inFlight += resources.filter(({ asked }) => asked !== undefined).length;
    for (const resource of resources) {
      if (resource.asked !== undefined) continue;
      const path = pathOf(resource);
      const isThere = existsSync(path);
      const locked = isThere && lockOn(path) === 'write';
      assert.equal(
        locked,
        resource.held,
        `${path}, which ${resource.held ? 'is' : 'is not'} held (seed ${seed})`,
      );
      if (resource.lockspace !== '')
        assert.equal(isThere, resource.held, `${path} is left over (seed ${seed})`);
    }
    for (const guest of all) await guest.settle();
  }
  assert.ok(inFlight > 0, 'some calls were in flight');
  assert.ok(all.every(({ calls }) => calls > 0));
  const held = resources.filter((resource) => resource.held);
  assert.deepEqual(
    resources.filter((one) => existsSync(pathOf(one)) && lockOn(pathOf(one)) === 'write'),
    held,
  );
  for (const guest of all) {
    guest.close();
    guest.process.kill('SIGKILL');
  }
  const left = (): readonly Resource[] =>
    resources.filter((one) => existsSync(pathOf(one)) && lockOn(pathOf(one)) === 'write');
  await until(
    () => left().length + readdirSync(lockspace).length === 0,
    () => `all to be free: ${left().map(pathOf).join(' ')}, ${readdirSync(lockspace).join(' ')}`,
  );
});

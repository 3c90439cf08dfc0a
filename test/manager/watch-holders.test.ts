/** `manager.watch`: looks again when something changed, and only then. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isHoldfastError, openManager, type ResourceUse } from '../../src/index.js';
import { otherProcess } from '../beds/other-process.js';
import { privateRuntime } from '../beds/private-folder.js';
import { needs } from '../needs.js';

const folder = privateRuntime();

function disk(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, name);
  return path;
}

function opener(path: string): ChildProcess {
  const fd = openSync(path, 'r+');
  const child = spawn('sleep', ['1000'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
  closeSync(fd);
  after(() => child.kill('SIGKILL'));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

const waitMsMax = 20_000;

/** What the watch gives until it is as wanted; a watch that never sees it fails the test. */
class Watching {
  readonly #abort = new AbortController();
  readonly #manager = openManager({ configuration: false });
  readonly #uses: AsyncGenerator<readonly ResourceUse[], void>;
  /** How often anything was given. */
  rounds = 0;

  constructor(disks: readonly string[]) {
    this.#uses = this.#manager.watch({ disks }, { signal: this.#abort.signal });
  }

  async until(wanted: (uses: readonly ResourceUse[]) => boolean): Promise<readonly ResourceUse[]> {
    const timer = setTimeout(() => this.#abort.abort(), waitMsMax);
    try {
      for (;;) {
        const { value, done } = await this.#uses.next();
        if (done === true) throw new Error('what was waited for did not come about');
        this.rounds++;
        if (wanted(value)) return value;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it; gives whether the loop ended, as it has to. */
  async end(): Promise<boolean> {
    this.#abort.abort();
    const { done } = await this.#uses.next();
    await this.#manager.close();
    return done === true;
  }
}

const pids = (use: ResourceUse | undefined): unknown => use?.holders.map(({ pid }) => pid);
const isFree = ([use]: readonly ResourceUse[]): boolean => use?.holders.length === 0;
const isUsed = ([use]: readonly ResourceUse[]): boolean => use?.state === 'in use';

test('who comes and goes without any lock, and who locks', async () => {
  const path = disk('coming.img');
  const watching = new Watching([path]);
  await watching.until(isFree);
  const child = opener(path);
  assert.deepEqual(pids((await watching.until(isUsed))[0]), [child.pid]);
  await end(child);
  await watching.until(isFree);
  const other = await otherProcess();
  const { inode, identity } =
    (await openManager({ configuration: false }).who({ disks: [path] }))[0]?.resource ?? {};
  assert.ok(inode !== undefined && identity !== undefined);
  const resource = {
    kind: 'disk',
    identity,
    label: path,
    storage: 'file',
    scope: 'host',
    path,
    inode,
  } as const;
  await other.acquire('one', [{ resource, mode: 'exclusive' }]);
  const [locked] = await watching.until(([use]) => use?.holders[0]?.mode === 'exclusive');
  assert.deepEqual(pids(locked), [other.pid]);
  await other.kill();
  await watching.until(isFree);
  assert.equal(await watching.end(), true);
});

test('nothing is given where nothing changed, and the disk is not kept open', async () => {
  const path = disk('idle.img');
  const watching = new Watching([path]);
  await watching.until(isFree);
  // The second look is asked for, and comes to nothing.
  const next = watching.until(() => true).catch(() => 'nothing');
  for (let i = 0; i < 5; i++) {
    closeSync(openSync(path, 'r'));
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
  const open = readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path);
    } catch {
      return false;
    }
  });
  assert.deepEqual(open, []);
  assert.equal(await watching.end(), true);
  assert.equal(await next, 'nothing');
  assert.equal(watching.rounds, 1);
});

test('a disk that is replaced is another one; one that is removed is still held by who has it open', async () => {
  const path = disk('moving.img');
  const child = opener(path);
  const watching = new Watching([path]);
  const [before] = await watching.until(isUsed);
  renameSync(disk('next.img'), path);
  const [after] = await watching.until(isFree);
  assert.notEqual(after?.resource.identity, before?.resource.identity);
  await end(child);
  const second = opener(path);
  await watching.until(isUsed);
  unlinkSync(path);
  const [removed] = await watching.until(([use]) => (use?.notes.length ?? 0) > 0);
  assert.deepEqual(pids(removed), [second.pid]);
  assert.match(removed?.notes[0] ?? '', /does not stand at this path any longer/);
  await end(second);
  await watching.until(isFree);
  assert.equal(await watching.end(), true);
});

test('a mount shows, and a watch is not in its way', async (t) => {
  if (!needs(t, 'root', 'losetup', 'mkfs.ext4')) return;
  const path = disk('mounted.img');
  execFileSync('truncate', ['-s', '8M', path]);
  execFileSync('mkfs.ext4', ['-q', '-F', path]);
  const point = join(folder, 'point');
  mkdirSync(point);
  const watching = new Watching([path]);
  await watching.until(isFree);
  execFileSync('mount', ['-o', 'loop', path, point]);
  t.after(() => spawn('umount', [point]));
  const [use] = await watching.until(
    ([one]) => one?.holders.some(({ through }) => through.join().includes(point)) === true,
  );
  assert.equal(use?.state, 'in use');
  // What lies on it is watched at the same time.
  const inside = join(point, 'inner.img');
  writeFileSync(inside, '');
  const inner = new Watching([inside]);
  await inner.until(isFree);
  execFileSync('umount', [point]);
  await watching.until(isFree);
  await inner.until(([one]) => (one?.notes.length ?? 0) > 0);
  assert.equal(await inner.end(), true);
  assert.equal(await watching.end(), true);
});

test('what is wrong from the beginning is an error', async () => {
  const watching = new Watching([join(folder, 'missing')]);
  await assert.rejects(
    watching.until(() => true),
    (error) => isHoldfastError(error, 'NO_SUCH_FILE'),
  );
  await watching.end();
});

/** The book of holds where two things happen at once: what a process is told, and what is kept, stay the same. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { EventLog } from '../../../src/daemon/api/event-log.js';
import { HoldBook } from '../../../src/daemon/api/hold-book.js';
import { HoldFiles } from '../../../src/daemon/api/hold-files.js';
import { KeptHolds } from '../../../src/daemon/api/kept-hold.js';
import type { Channel } from '../../../src/daemon/keeper/channel.js';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import { openManager, type DriverFactory, type OwnerProcess } from '../../../src/index.js';
import { processStartTime } from '../../../src/system/process.js';
import { lockOn } from '../../beds/observed-lock.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';

const folder = privateRuntime();
const self: OwnerProcess = { pid: process.pid, startTime: processStartTime(process.pid) ?? 0 };
let count = 0;

function disk(): string {
  const path = join(folder, `disk-${++count}.img`);
  writeFileSync(path, 'data');
  return path;
}

function witness(): string {
  const witnesses = join(folder, 'witnesses');
  mkdirSync(witnesses, { recursive: true, mode: 0o700 });
  const path = join(witnesses, `witness-${++count}`);
  writeFileSync(path, '', { mode: 0o600 });
  return path;
}

/** fcntl, whose functions wait where the test says. */
function held(gates: Partial<Record<'acquire' | 'shrink', Promise<void>>>): DriverFactory {
  return {
    about: fcntl.about,
    start: async (settings) => {
      const driver = await fcntl.start(settings);
      return {
        ...driver,
        acquire: async (owner, requests, options) => {
          const grant = await driver.acquire(owner, requests, options);
          await gates.acquire;
          return grant;
        },
        shrink: async (grant, identities) => {
          const less = (await driver.shrink?.(grant, identities)) ?? grant;
          await gates.shrink;
          return less;
        },
      };
    },
  };
}

interface Bed {
  readonly book: HoldBook;
  readonly take: (path: string, witness?: string) => ReturnType<HoldBook['acquire']>;
  /** Ids of what the keeper has. */
  readonly kept: Set<number>;
  readonly files: string;
}

function bed(driver: DriverFactory = fcntl): Bed {
  const kept = new Set<number>();
  const channel: Pick<Channel, 'takeKept' | 'keep' | 'drop'> = {
    takeKept: () => [],
    keep: (id) => void kept.add(id),
    drop: (id) => void kept.delete(id),
  };
  const files = join(folder, `files-${++count}`);
  const manager = openManager({ configuration: false, driver });
  const keeping = new KeptHolds(channel as Channel, new HoldFiles(files));
  const book = new HoldBook(manager, keeping, new EventLog());
  const take: Bed['take'] = (path, witnessPath) =>
    book.acquire({ input: { disks: [path] }, process: self, witness: witnessPath, options: {} });
  return { book, take, kept, files };
}

/** A gate, and what opens it. */
function gate(): { readonly open: () => void; readonly passed: Promise<void> } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { open, passed };
}

test('who asks again and goes away before the answer takes nothing from who has it', async () => {
  const { book, take } = bed();
  const [path, mark] = [disk(), witness()];
  const first = await take(path, mark);
  const again = await take(path, mark);
  assert.equal(again.hold.id, first.hold.id);
  await book.takeBack(again);
  assert.equal(lockOn(path), 'write');
  assert.equal(book.get(first.hold.id).hold.state, 'held');
  // And when nobody was told, nobody has it.
  await book.takeBack(first);
  assert.equal(lockOn(path), 'none');
});

test('two that ask at once with one witness get one hold', async () => {
  const { open, passed } = gate();
  const { book, take } = bed(held({ acquire: passed }));
  const [path, mark] = [disk(), witness()];
  const asked = [take(path, mark), take(path, mark)];
  await until(() => lockOn(path) === 'write', 'the first of them');
  open();
  const [one, two] = await Promise.all(asked);
  assert.equal(one?.hold.id, two?.hold.id);
  assert.equal(book.size, 1);
  await book.release(one?.hold.id ?? '');
});

test('what ends while it is changed is kept by nobody afterwards', async () => {
  const { open, passed } = gate();
  const { book, take, kept, files } = bed(held({ shrink: passed }));
  const [one, two] = [disk(), disk()];
  const { hold } = await take(one);
  await book.extend(hold.id, { disks: [two] }, {});
  const shrinking = book.shrink(hold.id, [two]).catch((error: unknown) => error);
  await until(() => lockOn(two) === 'none', 'the change');
  const ending = book.release(hold.id);
  open();
  await ending;
  assert.ok((await shrinking) instanceof Error);
  assert.deepEqual([[...kept], readdirSync(files), lockOn(one)], [[], [], 'none']);
});

test('who asks while another’s hold is being given back is not refused because of it', async () => {
  const { open, passed } = gate();
  const { book, take } = bed(held({ shrink: passed }));
  const [one, two] = [disk(), disk()];
  const { hold } = await take(one);
  await book.extend(hold.id, { disks: [two] }, {});
  const shrinking = book.shrink(hold.id, [two]).catch(() => undefined);
  await until(() => lockOn(two) === 'none', 'the change');
  const ending = book.release(hold.id);
  const next = take(one);
  open();
  const { hold: other } = await next;
  await Promise.all([ending, shrinking]);
  assert.equal(lockOn(one), 'write');
  await book.release(other.id);
});

test('a hold that is handed to a process which has just ended ends too', async () => {
  const { book, take } = bed();
  const path = disk();
  const { hold } = await take(path);
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  const startTime = processStartTime(pid) ?? 0;
  const handing = book.handOver(hold.id, { pid, startTime }, undefined);
  child.kill('SIGKILL');
  await handing.catch(() => undefined);
  await until(() => book.size === 0 && lockOn(path) === 'none', 'its end');
});

import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Channel } from '../../../src/daemon/keeper/channel.js';
import { keepKind } from '../../../src/daemon/keeper/keep-message.js';
import { KeeperEnd, KeptThings } from '../../../src/daemon/keeper/kept-things.js';
import { HeldLocks } from '../../../src/daemon/lockd/held-locks.js';
import { Journal, readJournal } from '../../../src/daemon/lockd/journal.js';
import { LockTable, type Lock, type LockdOwner } from '../../../src/daemon/lockd/lock-table.js';
import type { TakenUp } from '../../../src/daemon/lockd/take-up.js';
import { testLock } from '../../../src/system/ofd-lock.js';
import { messageSocketPair } from '../../../src/system/unix-socket.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-held-locks-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

const owner: LockdOwner = { uuid: '0'.repeat(32), name: 'web1', id: 1, pid: process.pid, startTime: 1 };
const other: LockdOwner = { ...owner, pid: 1 };

type Wanted = Parameters<HeldLocks['take']>[0];

function disk(name: string, shared = false): Wanted {
  const path = join(folder, name);
  writeFileSync(path, '');
  return { lockspace: '', name: path, shared, autocreate: false };
}

function isFree(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    return testLock(fd, 'write', 0) === undefined;
  } finally {
    closeSync(fd);
  }
}

interface Given {
  readonly things?: KeptThings;
  readonly journal?: string;
  readonly lives?: (owner: LockdOwner) => boolean;
  /** False: it ends before that. */
  readonly startsJournal?: boolean;
}

/** A daemon with a keeper, which gives it what it has. */
class Daemon {
  readonly table = new LockTable();
  readonly held: HeldLocks;
  readonly takenUp: TakenUp;
  readonly failures: Error[] = [];
  #end: KeeperEnd;
  #endFd: number;
  readonly channel: Channel;
  #journal: Journal | undefined;
  readonly #left: readonly number[];

  constructor({ things = new KeptThings(), journal, lives = () => true, startsJournal = true }: Given = {}) {
    const [endFd, own] = messageSocketPair();
    this.#endFd = endFd;
    things.giveTo(endFd);
    this.channel = new Channel(own);
    this.held = new HeldLocks({
      table: this.table,
      channel: this.channel,
      journalFailed: (error) => this.failures.push(error),
      keeperEnded: ([end = -1]) => {
        this.#endFd = end;
        this.#end = new KeeperEnd(end, new KeptThings());
      },
    });
    this.#end = new KeeperEnd(endFd, things);
    const kept = this.channel.takeKept();
    this.takenUp = this.held.takeUp(kept, journal === undefined ? undefined : readJournal(journal), lives);
    const { notUnderstood } = this.takenUp;
    this.#left = kept
      .filter(({ record }) => notUnderstood.includes(record))
      .flatMap((one) => one.descriptors);
    if (journal === undefined || !startsJournal) return;
    try {
      this.#journal = new Journal(journal);
      this.held.startJournal(this.#journal);
    } catch (error) {
      this.failures.push(error as Error);
    }
  }

  /** A lock whose owner has been told. */
  acquire(wanted: Wanted): Lock {
    const lock = this.take(wanted);
    this.held.commit();
    this.held.setDoubtful(lock, []);
    return lock;
  }

  take(wanted: Wanted): Lock {
    const lock = this.held.take(wanted, owner);
    assert.ok(!('failed' in lock));
    return lock;
  }

  /** Puts another keeper in the place of this one, which has ended; gives what that one gets. */
  endKeeper(): KeptThings {
    closeSync(this.#endFd);
    this.channel.noticeEnd();
    this.held.tellKeeper();
    const things = new KeptThings();
    this.#end = new KeeperEnd(this.#endFd, things);
    return things;
  }

  /** As after SIGKILL: without any goodbye. */
  kill(): void {
    for (const { fd } of this.table.locks()) closeSync(fd);
    for (const fd of this.#left) closeSync(fd);
    closeSync(this.channel.fd);
    assert.equal(this.#end.drain(), false);
    closeSync(this.#endFd);
    this.#journal?.close();
  }

  /** The same, and what is left is given back, so that the next test finds nothing. */
  end(): void {
    for (const lock of [...this.table.locks()]) this.held.giveBack(lock);
    this.held.tellKeeper();
    this.kill();
  }
}

const found = ({ takenUp: { adopted, takenAgain, lost } }: Daemon): number[] => [
  adopted,
  takenAgain,
  lost.length,
];

test('what was committed outlives the daemon, as its owners were told', () => {
  const things = new KeptThings();
  const journal = join(folder, 'told.journal');
  const [told, untold, shared] = [disk('told'), disk('untold'), disk('shared', true)];
  const first = new Daemon({ things, journal });
  first.acquire(told);
  const two = first.acquire(shared);
  assert.equal(first.held.changeOwners(two, [owner, other], [other]), true);
  first.take(untold);
  first.held.commit();
  first.kill();
  assert.deepEqual(
    [told, untold, shared].map(({ name }) => isFree(name)),
    [false, false, false],
  );

  const second = new Daemon({ things, journal });
  assert.deepEqual(found(second), [3, 0, 0]);
  const doubtful = [told, untold, shared].map(({ name }) => second.table.get('', name)?.doubtful);
  assert.deepEqual(doubtful, [[], [owner], [other]]);
  assert.deepEqual(second.table.get('', shared.name)?.owners, [owner, other]);
  second.end();
  assert.equal(things.size, 0);
});

test('what was given back is given back, although the keeper was not told', () => {
  const things = new KeptThings();
  const journal = join(folder, 'back.journal');
  const space = join(folder, 'space');
  mkdirSync(space, { mode: 0o700 });
  const first = new Daemon({ things, journal });
  const wanted = disk('back');
  const made = first.acquire({ lockspace: space, name: 'made', shared: false, autocreate: true });
  first.held.giveBack(first.acquire(wanted));
  assert.equal(isFree(wanted.name), true, 'at once');
  assert.equal(first.held.owesKeeper, true);
  // A second name, as a backup makes it: the file is not gone with its first one.
  linkSync(join(space, 'made'), join(space, 'backup'));
  first.held.giveBack(made);
  assert.equal(existsSync(join(space, 'made')), false);
  // Somebody else's file has the name now.
  writeFileSync(join(space, 'made'), '');
  first.kill();
  assert.equal(things.size, 2, 'the keeper does not know');
  const second = new Daemon({ things, journal });
  assert.deepEqual(found(second), [0, 0, 0]);
  assert.deepEqual([isFree(wanted.name), existsSync(join(space, 'made'))], [true, true]);
  second.kill();
  assert.equal(things.size, 0);
});

test('what was kept when the daemon ended before it stood in the journal goes, with its file', () => {
  const things = new KeptThings();
  const journal = join(folder, 'early.journal');
  const space = join(folder, 'early');
  mkdirSync(space, { mode: 0o700 });
  const first = new Daemon({ things, journal });
  first.acquire({ lockspace: space, name: 'r', shared: false, autocreate: true });
  first.kill();
  new Journal(journal).publish();
  const second = new Daemon({ things, journal });
  assert.deepEqual(found(second), [0, 0, 0]);
  assert.equal(existsSync(join(space, 'r')), false);
  second.kill();
});

test('without a sound journal everything that was kept is held, and its owners may ask again', () => {
  const things = new KeptThings();
  const wanted = disk('unsound');
  const first = new Daemon({ things });
  first.acquire(wanted);
  first.kill();
  const second = new Daemon({ things });
  assert.deepEqual(found(second), [1, 0, 0]);
  assert.deepEqual(second.table.get('', wanted.name)?.doubtful, [owner]);
  second.end();
});

test('what nobody kept is locked again for who lives; what somebody else has by then is lost', () => {
  const journal = join(folder, 'again.journal');
  const [again, taken, dead] = [disk('again'), disk('taken'), disk('dead')];
  const things = new KeptThings();
  const first = new Daemon({ things, journal });
  for (const one of [again, taken, dead]) first.acquire(one);
  const late = first.table.get('', dead.name);
  assert.ok(late !== undefined && first.held.changeOwners(late, [other]));
  const ids = [...first.table.locks()].map(({ id }) => id);
  first.held.commit();
  first.kill();
  for (const id of ids) things.remove(id);
  assert.equal(isFree(taken.name), true);
  const thief = new Daemon();
  thief.acquire(taken);
  const second = new Daemon({ journal, lives: ({ pid }) => pid !== other.pid });
  assert.deepEqual(found(second), [0, 1, 1]);
  assert.match(second.takenUp.lost[0] ?? '', /taken/);
  assert.deepEqual(
    [again, dead].map(({ name }) => isFree(name)),
    [false, true],
  );
  second.end();
  thief.end();
});

test('lockspaces outlive the daemon, and the daemon and its keeper', () => {
  const journal = join(folder, 'lockspaces.journal');
  const things = new KeptThings();
  const first = new Daemon({ things, journal });
  first.held.addLockspace('/locks');
  first.held.addLockspace('/locks');
  first.held.commit();
  first.kill();
  assert.equal(things.size, 1);

  const second = new Daemon({ things, journal });
  assert.equal(second.table.hasLockspace('/locks'), true);
  second.held.addLockspace('/locks');
  second.held.addLockspace('/more');
  second.held.commit();
  second.kill();
  assert.equal(things.size, 2);

  const third = new Daemon({ journal });
  assert.deepEqual(
    ['/locks', '/more', '/none'].map((one) => third.table.hasLockspace(one)),
    [true, true, false],
  );
  third.kill();
});

test('another keeper gets everything at once, and is told of all that follows', () => {
  const journal = join(folder, 'keeper.journal');
  const daemon = new Daemon({ journal });
  const [one, two] = [disk('one'), disk('two')];
  const lock = daemon.acquire(one);
  const things = daemon.endKeeper();
  daemon.acquire(two);
  daemon.held.giveBack(lock);
  daemon.held.tellKeeper();
  daemon.kill();
  assert.deepEqual([things.size, isFree(one.name), isFree(two.name)], [1, true, false]);
  const next = new Daemon({ things, journal });
  assert.deepEqual(found(next), [1, 0, 0]);
  next.end();
});

test('a lock has as many owners as can be written down', () => {
  const daemon = new Daemon();
  const lock = daemon.acquire(disk('crowd', true));
  const named = (count: number): LockdOwner[] =>
    Array.from({ length: count }, () => ({ ...owner, name: 'x'.repeat(4096) }));
  assert.equal(daemon.held.changeOwners(lock, named(30)), true);
  assert.equal(daemon.held.changeOwners(lock, named(40)), false);
  assert.equal(lock.owners.length, 30);
  daemon.end();
});

test('what ends in the turn in which its owners change is not in the journal', () => {
  const journal = join(folder, 'ghost.journal');
  const wanted = disk('ghost', true);
  const first = new Daemon({ journal });
  const lock = first.acquire(wanted);
  assert.equal(first.held.changeOwners(lock, [owner, other], [other]), true);
  assert.equal(first.held.changeOwners(lock, [owner]), true);
  first.held.giveBack(lock);
  first.held.commit();
  assert.deepEqual([...(readJournal(journal)?.held ?? [])], []);
  first.kill();
  const second = new Daemon({ journal });
  assert.deepEqual([found(second), isFree(wanted.name)], [[0, 0, 0], true]);
  second.kill();
});

test('a journal that cannot be started takes the one before with it', () => {
  const things = new KeptThings();
  const journal = join(folder, 'unstarted.journal');
  const [before, after] = [disk('before'), disk('after')];
  const first = new Daemon({ things, journal });
  first.acquire(before);
  first.kill();
  mkdirSync(`${journal}.new`);
  const second = new Daemon({ things, journal });
  assert.equal(second.failures.length, 1);
  second.acquire(after);
  second.kill();
  const third = new Daemon({ things, journal });
  assert.deepEqual(found(third), [2, 0, 0]);
  third.end();
});

test('a record of another build stays with the keeper, and what it says stays locked', () => {
  const things = new KeptThings();
  const journal = join(folder, 'strange.journal');
  const [strange, known] = [disk('strange'), disk('known')];
  const first = new Daemon({ things, journal });
  first.acquire(strange);
  first.kill();
  const fd = openSync(strange.name, 'r+');
  things.take({
    kind: keepKind.update,
    id: 1,
    record: Buffer.from('[2,{"of":"another build"}]'),
    descriptors: [],
  });
  closeSync(fd);
  rmSync(journal);
  let last: Daemon | undefined;
  for (let start = 0; start < 3; start++) {
    const daemon = new Daemon({ things, journal });
    assert.deepEqual([found(daemon), daemon.takenUp.notUnderstood.length], [[0, 0, 0], 1]);
    assert.deepEqual([things.size, isFree(strange.name)], [1, false]);
    const lock = daemon.acquire(known);
    assert.ok(lock.id > 1);
    daemon.held.giveBack(lock);
    daemon.held.tellKeeper();
    if (start === 2) last = daemon;
    else daemon.kill();
  }
  assert.ok(last !== undefined);
  const more = last.endKeeper();
  last.kill();
  assert.deepEqual([more.size, isFree(strange.name)], [1, false]);
  more.remove(1);
  things.remove(1);
  assert.equal(isFree(strange.name), true);
});

test('what was taken again is kept when the daemon ends before its own journal is there', () => {
  const things = new KeptThings();
  const journal = join(folder, 'twice.journal');
  const space = join(folder, 'twice');
  mkdirSync(space, { mode: 0o700 });
  const gone = new KeptThings();
  const first = new Daemon({ things: gone, journal });
  const { id } = first.acquire({ lockspace: space, name: 'r', shared: false, autocreate: true });
  first.kill();
  gone.remove(id);
  const second = new Daemon({ things, journal, startsJournal: false });
  assert.deepEqual(found(second), [0, 1, 0]);
  second.kill();
  const third = new Daemon({ things, journal });
  assert.deepEqual(found(third), [1, 0, 0]);
  third.end();
});

test('what the keeper was not given is not given to anybody', () => {
  const daemon = new Daemon();
  daemon.take(disk('unkept'));
  const { fd } = daemon.channel;
  closeSync(fd);
  assert.throws(() => daemon.held.commit(), /EBADF/);
  assert.throws(() => daemon.held.commit(), /EBADF/, 'and not later either');
});

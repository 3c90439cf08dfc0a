import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Channel, type Kept } from '../../../src/daemon/keeper/channel.js';
import { KeeperEnd, KeptThings } from '../../../src/daemon/keeper/kept-things.js';
import { HeldLocks } from '../../../src/daemon/lockd/held-locks.js';
import { Journal, readJournal } from '../../../src/daemon/lockd/journal.js';
import { LockTable } from '../../../src/daemon/lockd/lock-table.js';
import { messageSocketPair } from '../../../src/system/unix-socket.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-held-locks-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

const owner = { uuid: '0'.repeat(32), name: 'web1', id: 1, pid: process.pid, startTime: 1 };

function disk(name: string): { lockspace: string; name: string; shared: boolean; autocreate: boolean } {
  const path = join(folder, name);
  writeFileSync(path, '');
  return { lockspace: '', name: path, shared: false, autocreate: false };
}

/** A daemon with a keeper, which gives it what it has. */
class Daemon {
  readonly table = new LockTable();
  readonly held: HeldLocks;
  readonly kept: Kept[];
  readonly end: KeeperEnd;
  readonly #fds: [number, number];

  constructor(things: KeptThings, journal: (held: HeldLocks) => Journal) {
    this.#fds = messageSocketPair();
    things.giveTo(this.#fds[0]);
    const channel = new Channel(this.#fds[1]);
    this.kept = channel.takeKept();
    let opened: Journal | undefined;
    this.held = new HeldLocks(this.table, channel, () => (opened ??= journal(this.held)));
    this.end = new KeeperEnd(this.#fds[0], things);
  }

  /** As after SIGKILL: without any goodbye. */
  kill(): void {
    for (const { fd } of this.table.locks()) closeSync(fd);
    closeSync(this.#fds[1]);
    assert.equal(this.end.drain(), false);
    closeSync(this.#fds[0]);
  }
}

test('what is held stands in the list that a journal is written anew from before it stands in the journal', () => {
  const path = join(folder, 'order');
  const seen: string[][] = [];
  const daemon = new Daemon(new KeptThings(), (held) => {
    const journal = new Journal(path, () => held.records());
    const append = journal.held.bind(journal);
    journal.held = (id, record) => {
      seen.push([...held.records()].filter((one) => one[0] === id).map((one) => one[1]));
      append(id, record);
      assert.deepEqual(seen.at(-1), [record]);
    };
    return journal;
  });
  daemon.held.addLockspace(folder);
  const lock = daemon.held.take(disk('one'), owner);
  assert.ok(!('failed' in lock));
  daemon.held.change(lock, { owners: [owner, { ...owner, pid: 1 }] });
  assert.equal(seen.length, 3);
  daemon.kill();
});

test('lockspaces outlive the daemon, and the daemon and its keeper', () => {
  const path = join(folder, 'lockspaces');
  const journal = (held: HeldLocks): Journal => new Journal(path, () => held.records());
  const things = new KeptThings();
  const wanted = disk('two');
  const first = new Daemon(things, journal);
  first.held.addLockspace('/locks');
  first.held.addLockspace('/locks');
  assert.ok(!('failed' in first.held.take(wanted, owner)));
  first.kill();
  assert.equal(things.size, 2);

  const second = new Daemon(things, journal);
  assert.deepEqual(second.held.adopt(second.kept), { adopted: 1, lost: [] });
  assert.equal(second.table.hasLockspace('/locks'), true);
  second.held.addLockspace('/locks');
  second.held.addLockspace('/more');
  second.kill();
  assert.equal(things.size, 3);

  const third = new Daemon(new KeptThings(), journal);
  for (const id of [1, 2, 3]) things.remove(id);
  const { taken, lost } = third.held.takeAgain(readJournal(path)?.held.values() ?? []);
  assert.deepEqual([taken.map(({ name }) => name), lost], [[wanted.name], []]);
  assert.deepEqual(
    ['/locks', '/more'].map((one) => third.table.hasLockspace(one)),
    [true, true],
  );
  const [lock] = taken;
  if (lock !== undefined) third.held.giveBack(lock);
  third.kill();
});

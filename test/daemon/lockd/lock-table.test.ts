import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LockTable, sameOwner, type Lock, type LockdOwner } from '../../../src/daemon/lockd/lock-table.js';

const owner = (pid: number): LockdOwner => ({
  uuid: '5f1c4b2a7c354a0e9a310d6b0f6e8a11',
  name: `guest${pid}`,
  id: 1,
  pid,
  startTime: 1000 + pid,
});

const lock = (lockspace: string, name: string, pids: readonly number[]): Lock => ({
  id: 1,
  lockspace,
  name,
  shared: pids.length > 1,
  autocreated: false,
  fd: 9,
  since: '2026-11-22T13:18:51Z',
  owners: pids.map(owner),
  doubtful: [],
  entry: 0,
});

test('the direct lockspace is there; others are when they are made', () => {
  const table = new LockTable();
  assert.equal(table.hasLockspace(''), true);
  assert.equal(table.hasLockspace('/a'), false);
  table.addLockspace('/a');
  table.add(lock('/a', 'x', [1]));
  assert.throws(() => table.add(lock('/a', 'x', [2])), /already/);
  table.addLockspace('/a');
  assert.equal(table.get('/a', 'x')?.owners[0]?.pid, 1);
  assert.equal(table.get('', 'x'), undefined);
});

test('the same owner: process, its start, and the uuid', () => {
  assert.equal(sameOwner(owner(1), { ...owner(1), name: 'renamed', id: 7 }), true);
  assert.equal(sameOwner(owner(1), { ...owner(1), startTime: 5 }), false);
  assert.equal(sameOwner(owner(1), { ...owner(1), uuid: '0'.repeat(32) }), false);
});

test('as a plain list of locks says, whatever is done', () => {
  const names = fc.constantFrom('a', 'b', 'c');
  const spaces = fc.constantFrom('', '/one', '/two');
  const pids = fc.uniqueArray(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 });
  const step = fc.record({ what: fc.constantFrom('add', 'own', 'remove'), space: spaces, name: names, pids });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const table = new LockTable();
      const model = new Map<string, Lock>();
      for (const one of steps) {
        const key = `${one.space}|${one.name}`;
        const known = table.get(one.space, one.name);
        assert.equal(known, model.get(key));
        if (one.what === 'add' && known === undefined) {
          const next = lock(one.space, one.name, one.pids);
          table.add(next);
          model.set(key, next);
        } else if (one.what === 'own' && known !== undefined) {
          table.changeOwners(known, one.pids.map(owner));
          assert.deepEqual(known.owners, one.pids.map(owner));
        } else if (one.what === 'remove' && known !== undefined) {
          table.remove(known);
          table.remove(known);
          model.delete(key);
        }
      }
      assert.equal(table.size, model.size);
      assert.deepEqual(new Set(table.locks()), new Set(model.values()));
      for (const pid of [1, 2, 3, 4]) {
        const held = [...model.values()].filter(({ owners }) => owners.some((each) => each.pid === pid));
        assert.deepEqual(new Set(table.heldBy(pid)), new Set(held));
        assert.equal(table.holdsAny(pid), held.length > 0);
      }
    }),
  );
});

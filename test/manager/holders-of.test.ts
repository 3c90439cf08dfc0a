/** What a driver knows of a holder, beside what is found on this host. */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { holdersOf } from '../../src/manager/holders-of.js';
import type { Holder, Resource } from '../../src/vocabulary.js';
import { fileResource } from '../beds/file-resource.js';
import { privateRuntime } from '../beds/private-folder.js';
import { startActor } from '../holders/actor.js';
import { lacks } from '../needs.js';

const folder = privateRuntime();
const far: Holder = {
  guest: 'web1',
  host: 'node-b',
  pid: process.pid,
  mode: 'read',
  through: ['Holdfast (fcntl)'],
  evidence: ['its record'],
  remedy: 'on node-b: holdfast who /a',
};
const unnamed: Holder = {
  mode: 'exclusive',
  pid: 1,
  through: ['virtlockd or Holdfast'],
  evidence: ['a lock'],
};

function disk(name: string, scope: Resource['scope'] = 'cluster'): Resource {
  return { ...fileResource(join(folder, name)), scope };
}

// Whoever is not root may not see all processes of this host, and cannot say that nobody here has it.
describe('a holder that nobody here explains', { skip: lacks('root') }, () => {
  test('named by its record: as it says, held from another host', async () => {
    const [holder, ...more] = await holdersOf(disk('a'), [far], []);
    assert.deepEqual(more, []);
    assert.deepEqual(holder, { ...far, through: ['Holdfast (fcntl), held from another host'] });
  });

  test('beside one that is found here, both', async () => {
    const resource = disk('b');
    const fd = openSync(resource.path ?? '', 'r+');
    const holders = await holdersOf(resource, [far, unnamed], []);
    closeSync(fd);
    assert.deepEqual(
      holders.map(({ host, pid, guest }) => [host, pid, guest]),
      [
        ['this host', process.pid, undefined],
        ['node-b', process.pid, 'web1'],
      ],
    );
  });

  test('without a record: on another host, without the pid that means another process here', async () => {
    const [holder] = await holdersOf(disk('c'), [unnamed], []);
    assert.deepEqual([holder?.host, holder?.pid], ['another host', undefined]);
    assert.deepEqual(holder?.through, ['virtlockd or Holdfast, held from another host']);
    assert.ok(holder?.evidence.includes('no process on this host has it open'));
    assert.match(holder?.remedy ?? '', /other hosts that reach the same storage/);
  });

  test('by its own word on this host, though nobody here has it', async () => {
    const here = { ...far, host: 'this host', remedy: 'look for it' };
    const [holder] = await holdersOf(disk('d'), [here], []);
    assert.deepEqual([holder?.host, holder?.guest, holder?.remedy], ['this host', 'web1', 'look for it']);
    assert.match(holder?.evidence.join('\n') ?? '', /in a container that cannot be seen from here/);
  });

  test('of a file that only this host reaches: nothing is said of other hosts', async () => {
    const [holder] = await holdersOf(disk('e', 'host'), [{ ...unnamed, pid: 2 ** 22 - 1 }], []);
    assert.equal(holder?.host, undefined);
    assert.deepEqual(holder?.through, ['virtlockd or Holdfast']);
  });

  test('who writes and cannot be seen says less than the lock that a driver met', async () => {
    const resource = disk('f', 'host');
    await using _writer = await startActor(`hide(fs.openSync(${JSON.stringify(resource.path)}, 'r+'));`);
    const { pid: _, ...met } = unnamed;
    const words = (holders: readonly Holder[]): unknown => holders.map(({ through }) => through);
    assert.deepEqual(words(await holdersOf(resource, [met], [])), [['virtlockd or Holdfast']]);
    assert.deepEqual(words(await holdersOf(resource, [], [])), [
      ['no lock: open for writing by a program that cannot be seen from here'],
    ]);
  });
});

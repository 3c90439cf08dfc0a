/** Who only reads, and shows in no process that can be seen: `who` never says of such a disk that it is free. */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { findHolders } from '../../src/holders/find-holders.js';
import { isOpenElsewhere } from '../../src/system/file-lease.js';
import { resourceAt, startActor } from './actor.js';

function image(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'unseen-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, Buffer.alloc(8192));
  return path;
}

const hiddenReader = (path: string): string => `hide(fs.openSync(${JSON.stringify(path)}, 'r'));`;

test('a reader that no process shows is in the answer for everyone, and in no refusal', async (t) => {
  const path = image(t);
  await using _reader = await startActor(hiddenReader(path));
  const { holders } = await findHolders(resourceAt(path), { everyone: true });
  assert.deepEqual(
    holders.map(({ pid, through, refuses }) => [pid, through, refuses]),
    [[undefined, ['open for reading by a program that cannot be seen from here'], []]],
  );
  assert.deepEqual((await findHolders(resourceAt(path))).holders, []);
});

test('nobody, a reader that shows, and a descriptor of this process need no such words', async (t) => {
  const path = image(t);
  const look = async (): Promise<unknown> =>
    (await findHolders(resourceAt(path), { everyone: true })).holders.map(({ pid }) => pid);
  assert.deepEqual(await look(), []);
  {
    await using reader = await startActor(`fs.openSync(${JSON.stringify(path)}, 'r');`);
    assert.deepEqual(await look(), [reader.pid]);
  }
  const own = openSync(path, 'r');
  assert.deepEqual(await look(), [process.pid]);
  closeSync(own);
  assert.deepEqual(await look(), []);
});

test('the kernel is asked for readers where it counts them', async (t) => {
  const path = image(t);
  const fd = openSync(path, 'r');
  t.after(() => closeSync(fd));
  assert.equal(isOpenElsewhere(fd), false);
  const other = openSync(path, 'r');
  assert.equal(isOpenElsewhere(fd), true);
  closeSync(other);
  for (const release of ['', 'unknown', '4.18.0-553.el8', '5.2.21']) {
    assert.equal(isOpenElsewhere(fd, release), undefined, release);
  }
  for (const release of ['5.3.0', '5.14.0-427.el9', '6.1.0-18-amd64']) {
    assert.equal(isOpenElsewhere(fd, release), false, release);
  }
});

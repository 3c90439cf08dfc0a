import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isOpenForWriting } from '../../src/system/file-lease.js';
import { startActor } from '../holders/actor.js';

function temporaryFile(t: { after(fn: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'lease-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'disk.img'), Buffer.alloc(8192));
  return join(folder, 'disk.img');
}

test('readers are not seen, writers are, until they close', (t) => {
  const path = temporaryFile(t);
  const reader = openSync(path, 'r');
  assert.equal(isOpenForWriting(path), false);
  assert.equal(isOpenForWriting(reader), false);
  const writer = openSync(path, 'r+');
  assert.equal(isOpenForWriting(path), true);
  assert.equal(isOpenForWriting(reader), true);
  closeSync(writer);
  assert.equal(isOpenForWriting(path), false);
  assert.equal(isOpenForWriting(reader), false);
  closeSync(reader);
});

test('a writer in another process is seen, also one that only has it mapped', async (t) => {
  const path = temporaryFile(t);
  {
    await using _writer = await startActor(`fs.openSync(${JSON.stringify(path)}, 'a');`);
    assert.equal(isOpenForWriting(path), true);
  }
  await using _mapper = await startActor(`
    const fd = fs.openSync(${JSON.stringify(path)}, 'r+');
    mmap(null, 4096, 3, 1, fd, 0);
    fs.closeSync(fd);`);
  assert.equal(isOpenForWriting(path), true);
});

test('what has no leases cannot be told', (t) => {
  const path = temporaryFile(t);
  assert.equal(isOpenForWriting(`${path}.missing`), undefined);
  assert.equal(isOpenForWriting(tmpdir()), undefined);
  assert.equal(isOpenForWriting('/dev/null'), undefined);
  assert.equal(isOpenForWriting(-1), undefined);
});

// Without F_SETSIG before the lease, this kills the process with SIGIO within a second.
test('others open for writing again and again while we ask: nobody dies, nobody fails', async (t) => {
  const path = temporaryFile(t);
  await using writer = await startActor(`
    let opened = 0;
    setTimeout(function again() {
      for (let i = 0; i < 500; i++) fs.closeSync(fs.openSync(${JSON.stringify(path)}, 'r+'));
      opened += 500;
      if (opened < 20_000) setImmediate(again);
      else process.exit(7);
    });`);
  const ended = once(writer.child, 'exit');
  let asked = 0;
  while (writer.child.exitCode === null && writer.child.signalCode === null && asked < 3_000_000) {
    for (let i = 0; i < 1000; i++) assert.notEqual(isOpenForWriting(path), undefined);
    asked += 1000;
    await new Promise(setImmediate);
  }
  assert.deepEqual(await ended, [7, null]);
  assert.equal(isOpenForWriting(path), false);
});

import assert from 'node:assert/strict';
import { linkSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makePlan, planChanged, stillThere } from '../../src/plan/make-plan.js';
import type { LockRequest, Plan } from '../../src/vocabulary.js';
import { argument, disk, guest, scratch } from './guest.js';
import { backingFormat, craftQcow2 } from './qcow2-image.js';

function only(plan: Plan): LockRequest {
  const [request] = plan.requests;
  assert.ok(request);
  return request;
}

test('a path that leads to another file, or to none, has moved', async (t) => {
  const folder = scratch(t);
  const [path, link] = [join(folder, 'a.img'), join(folder, 'link')];
  writeFileSync(path, '');
  symlinkSync('a.img', link);
  const request = only(await makePlan(guest([disk(link)])));
  assert.equal(await stillThere(request), 'same');
  renameSync(path, join(folder, 'b.img'));
  assert.equal(await stillThere(request), 'moved');
  writeFileSync(path, '');
  assert.equal(await stillThere(request), 'moved');
  renameSync(join(folder, 'b.img'), path);
  assert.equal(await stillThere(request), 'same');
  unlinkSync(link);
  assert.equal(await stillThere(request), 'moved');
});

test('every name that the guest has for it has to lead there still', async (t) => {
  const folder = scratch(t);
  const [path, other] = [join(folder, 'a.img'), join(folder, 'b.img')];
  writeFileSync(path, '');
  linkSync(path, other);
  const request = only(await makePlan(guest([argument(path), argument(other)])));
  assert.deepEqual(request.resource.otherPaths, [other]);
  assert.equal(await stillThere(request), 'same');
  unlinkSync(other);
  writeFileSync(other, '');
  assert.equal(await stillThere(request), 'moved');
});

test('what has no path cannot move', async () => {
  const source = { type: 'network', protocol: 'rbd', name: 'p/i', hosts: [] } as const;
  assert.equal(await stillThere(only(await makePlan(guest([disk('x', { source })])))), 'same');
});

test('a plan made again is the same until the chain or an inode is another', async (t) => {
  const folder = scratch(t);
  const [top, base] = [join(folder, 't'), join(folder, 'b')];
  const description = guest([disk(top, { format: 'qcow2' })]);
  const extensions = [{ type: backingFormat, data: Buffer.from('raw') }];
  writeFileSync(base, '');
  writeFileSync(join(folder, 'c'), '');
  writeFileSync(top, craftQcow2({ name: 'b', extensions }));
  const before = await makePlan(description);
  assert.equal(planChanged(before, await makePlan(description)), false);
  writeFileSync(top, craftQcow2({ name: 'c', extensions }));
  assert.equal(planChanged(before, await makePlan(description)), true);
  writeFileSync(top, craftQcow2());
  assert.equal(planChanged(before, await makePlan(description)), true);
  writeFileSync(top, craftQcow2({ name: 'b', extensions }));
  assert.equal(planChanged(before, await makePlan(description)), false);
  const elsewhere = before.requests.map(({ resource, mode }) => ({
    mode,
    resource: { ...resource, inode: { dev: '0:99', ino: resource.inode?.ino ?? '' } },
  }));
  assert.equal(planChanged(before, { ...before, requests: elsewhere }), true);
  renameSync(join(folder, 'c'), base);
  assert.equal(planChanged(before, await makePlan(description)), true);
  renameSync(base, join(folder, 'c'));
  writeFileSync(base, '');
  const again = await makePlan(description);
  const read = await makePlan(guest([disk(top, { format: 'qcow2', mode: 'read' })]));
  assert.deepEqual([again.requests.length, read.requests.length], [2, 2]);
  assert.equal(planChanged(again, read), true);
});

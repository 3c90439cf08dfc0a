/** Holds that outlive the process which took them: kept descriptors, and what was saved of the hold. */
import assert from 'node:assert/strict';
import { closeSync, fstatSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openManager, type Hold, type Manager, type SavedHold } from '../../src/index.js';
import fcntl from '../../src/drivers/fcntl/fcntl.js';
import memory from '../../src/drivers/memory/memory.js';
import { unlockAll } from '../../src/system/ofd-lock.js';
import { duplicates } from '../beds/keep-descriptors.js';
import { privateRuntime } from '../beds/private-folder.js';

const folder = privateRuntime();
const holds = join(folder, 'run', 'holds');
const configuration = false;
const owner = { name: 'web1', uuid: '11111111-2222-4333-8444-555555555555' };

function disk(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, name);
  return path;
}

/** Ends a hold as the death of its process does, but for the duplicates that somebody has. */
async function die(hold: Hold): Promise<{ saved: SavedHold; kept: readonly number[] }> {
  // Through JSON, as it is written down.
  const saved = JSON.parse(JSON.stringify(hold.save())) as SavedHold;
  const kept = duplicates(hold.descriptors);
  const own = hold.descriptors;
  await hold.abandon();
  own.forEach((fd) => closeSync(fd));
  return { saved, kept };
}

const kernel = await fcntl.start({ libvirt_config_dirs: [] });

/** Whether its lock is; the duplicates of a keeper are still open for writing, which the manager would refuse. */
async function isFree(manager: Manager, path: string): Promise<boolean> {
  const { requests } = await manager.plan({ disks: [path] });
  const results = (await kernel.probe?.(requests)) ?? [];
  return results.every(({ free }) => free);
}

test('a hold is adopted with its record, changed, and released though a keeper has duplicates', async () => {
  await using before = openManager({ configuration });
  await using after = openManager({ configuration });
  const [one, two, three] = [disk('1.img'), disk('2.img'), disk('3.img')];
  const options = { unlockOnRelease: true, process: { pid: 1, startTime: 7 } };
  const hold = await before.lock({ disks: [one, `${two}:read`], owner }, options);
  assert.equal(hold.owner.pid, 1);
  const { saved, kept } = await die(hold);
  const keeper = duplicates(kept);

  const adopted = await after.adopt(saved, kept);
  assert.deepEqual(adopted.save(), saved);
  assert.equal(adopted.id, hold.id);
  assert.equal(adopted.owner.startTime, 7);
  const [listed] = await after.holds();
  assert.equal(listed?.id, hold.id);
  assert.equal(await isFree(before, one), false);

  await adopted.extend({ disks: [three] });
  assert.equal(adopted.owner.pid, 1);
  assert.equal(await isFree(before, three), false);
  await adopted.shrink([one]);
  assert.equal(await isFree(before, one), true);
  assert.equal(await isFree(before, three), false);
  await adopted.passTo({ pid: 2, startTime: 9 });
  assert.equal((await after.holds())[0]?.owner.pid, 2);

  await adopted.release();
  for (const path of [one, two, three]) assert.equal(await isFree(before, path), true, path);
  assert.deepEqual(readdirSync(holds), []);
  keeper.forEach((fd) => closeSync(fd));
});

test('requests that were planned elsewhere are locked as they are', async () => {
  await using manager = openManager({ configuration });
  const path = disk('planned.img');
  const { requests } = await manager.plan({ disks: [path], owner });
  const hold = await manager.lock({ requests, owner: { kind: 'domain', ...owner } });
  assert.deepEqual(
    hold.requests.map(({ resource, mode }) => [resource.identity, mode]),
    requests.map(({ resource, mode }) => [resource.identity, mode]),
  );
  assert.equal(await isFree(manager, path), false);
  const identity = requests.find(({ resource }) => resource.kind === 'disk')?.resource.identity;
  await hold.shrink([identity ?? '']);
  assert.equal(await isFree(manager, path), true);
  await hold.release();
});

test('what somebody else has by now is not adopted, and the descriptors stay with the caller', async () => {
  await using before = openManager({ configuration });
  await using after = openManager({ configuration });
  const path = disk('lost.img');
  const { saved, kept } = await die(await before.lock({ disks: [path] }, { unlockOnRelease: true }));
  kept.forEach((fd) => closeSync(fd));
  const thief = await before.lock({ disks: [path] });
  await assert.rejects(after.adopt(saved, []), { code: 'IN_USE' });
  await thief.release();
  const [, ...tooFew] = duplicates([0, 1]);
  await assert.rejects(after.adopt(saved, tooFew), { code: 'LOST' });
  tooFew.forEach((fd) => closeSync(fd));

  const again = await after.adopt(saved, []);
  assert.equal(again.id, saved.id);
  assert.equal(await isFree(before, path), false);
  await again.release();
  assert.equal(await isFree(before, path), true);
});

test('what was just being given back is not adopted, whether somebody else has it by now or not', async () => {
  await using before = openManager({ configuration });
  await using after = openManager({ configuration });
  for (const isTaken of [false, true]) {
    const [stays, goes] = [disk(`stays-${isTaken}.img`), disk(`goes-${isTaken}.img`)];
    const hold = await before.lock({ disks: [stays, goes] }, { unlockOnRelease: true });
    const { saved, kept } = await die(hold);
    const identity = saved.plan.items.find(({ label }) => label === goes)?.resource?.identity;
    const other = isTaken ? await takeFrom(before, kept, goes) : undefined;
    // A name that it never had was refused, or would have been.
    const adopted = await after.adopt(saved, kept, [goes, 'vdz']);
    assert.ok(!adopted.requests.some(({ resource }) => resource.identity === identity));
    assert.deepEqual([await isFree(before, stays), await isFree(before, goes)], [false, !isTaken]);
    await adopted.release();
    assert.equal(await isFree(before, stays), true);
    await other?.release();
  }
});

/** As if it had been given back just before, and somebody had it now. */
async function takeFrom(manager: Manager, kept: readonly number[], path: string): Promise<Hold> {
  const { ino } = statSync(path);
  const fd = kept.find((one) => fstatSync(one).ino === ino);
  assert.ok(fd !== undefined);
  unlockAll(fd);
  return manager.lock({ disks: [path] }, { allowUnlocked: true });
}

test('a hold is suspended and resumed where its driver can', async () => {
  await using manager = openManager({ configuration, driver: memory });
  const path = disk('paused.img');
  const hold = await manager.lock({ disks: [path] });
  await assert.rejects(hold.resume(), { code: 'USAGE' });
  await hold.suspend();
  assert.equal(hold.state, 'suspended');
  await assert.rejects(hold.extend({ disks: [disk('more.img')] }), { code: 'USAGE' });
  await hold.resume();
  assert.equal(hold.state, 'held');
  assert.equal((await manager.plan({ disks: [path] })).granted, false);
  await hold.suspend();
  assert.equal((await manager.plan({ disks: [path] })).granted, true);
  await hold.release();
  assert.equal(hold.state, 'released');
  await assert.rejects(hold.resume(), { code: 'ENDED' });

  await using unable = openManager({ configuration });
  const locked = await unable.lock({ disks: [`${path}:shared`] });
  await assert.rejects(locked.suspend(), { code: 'UNSUPPORTED' });
  assert.equal(locked.state, 'held');
});

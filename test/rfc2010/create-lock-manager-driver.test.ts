import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { driverConformance, runWithNodeTest } from '../../src/driver/conformance.js';
import { inodeOf } from '../../src/system/inode.js';
import {
  createLockManagerDriver,
  driverFromTable,
  LIBVIRT_LOCK_VERSION,
  VIR_LOCK_MANAGER_DRIVER_HOTPLUG,
  VIR_LOCK_MANAGER_DRIVER_MIGRATE,
  VIR_LOCK_MANAGER_DRIVER_RESOURCES,
  VIR_LOCK_MANAGER_MIGRATE_CANCEL as CANCEL,
  VIR_LOCK_MANAGER_NEW_ATTACH as ATTACH,
  VIR_LOCK_MANAGER_NEW_MIGRATE as MIGRATE,
  VIR_LOCK_MANAGER_OBJECT_TYPE_DOMAIN as DOMAIN,
  VIR_LOCK_MANAGER_RESOURCE_READONLY as READONLY,
  VIR_LOCK_MANAGER_RESOURCE_SHARED as SHARED,
  VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK as DISK,
} from '../../src/rfc2010/rfc2010.js';
import type { LockManagerDriver, ManagedGuest } from '../../src/rfc2010/rfc2010.js';
import { inMemoryTable } from './in-memory-table.js';

const folder = await mkdtemp(join(tmpdir(), 'holdfast-rfc2010-'));
process.env['HOLDFAST_RUNTIME_DIR'] = join(folder, 'run');
let disks = 0;

after(() => rm(folder, { recursive: true }));

async function disk(): Promise<string> {
  const path = join(folder, `disk${disks++}.img`);
  await writeFile(path, 'x');
  return path;
}

function over(driver: string, space = randomUUID()): LockManagerDriver {
  return createLockManagerDriver(driver, { configuration: false, settings: { memory: { space } } });
}

/** A guest with its three parameters set, as every sequence of the proposal begins. */
async function guestOf(
  impl: LockManagerDriver,
  name: string,
  flags = 0,
  uuid: string = randomUUID(),
): Promise<ManagedGuest> {
  const guest = await impl.new_drv(DOMAIN, flags);
  await impl.set_parameter_drv(guest, 'id', 2);
  await impl.set_parameter_drv(guest, 'name', name);
  await impl.set_parameter_drv(guest, 'uuid', uuid);
  return guest;
}

for (const driver of ['fcntl', 'memory']) {
  test(`the sequence of the proposal over ${driver}`, async () => {
    const impl = over(driver);
    const [big, iso] = [await disk(), await disk()];
    await impl.load_drv(LIBVIRT_LOCK_VERSION, 0);

    const first = await guestOf(impl, 'first');
    await impl.acquire_resource(first, DISK, big, 0);
    await impl.acquire_resource(first, DISK, iso, READONLY);
    await impl.startup_drv(first);

    const reader = await guestOf(impl, 'reader');
    await impl.acquire_resource(reader, DISK, iso, READONLY);
    await impl.startup_drv(reader);

    const second = await guestOf(impl, 'second');
    const other = await disk();
    await impl.acquire_resource(second, DISK, other, 0);
    await impl.acquire_resource(second, DISK, big, 0);
    await assert.rejects(impl.startup_drv(second), { code: 'IN_USE', resource: big });

    // All or nothing: the disk that was free is free still.
    const third = await guestOf(impl, 'third');
    await impl.acquire_resource(third, DISK, other, 0);
    await impl.startup_drv(third);
    await impl.shutdown_drv(third);

    await impl.shutdown_drv(first);
    await impl.startup_drv(second);
    for (const guest of [second, reader]) await impl.shutdown_drv(guest);
    await impl.unload_drv();
  });
}

test('over nop everything is granted', async () => {
  const impl = over('nop');
  const path = await disk();
  for (const name of ['one', 'two']) {
    const guest = await guestOf(impl, name);
    await impl.acquire_resource(guest, DISK, path, 0);
    await impl.startup_drv(guest);
  }
});

test('SHARED lets in who shares, and nobody else; READONLY wins over it', async () => {
  const impl = over('memory');
  const path = await disk();
  const start = async (flags: number): Promise<ManagedGuest> => {
    const guest = await guestOf(impl, `guest${flags}`);
    await impl.acquire_resource(guest, DISK, path, flags);
    await impl.startup_drv(guest);
    return guest;
  };
  const sharing = [await start(SHARED), await start(SHARED)];
  await assert.rejects(start(0), { code: 'IN_USE' });
  await assert.rejects(start(READONLY), { code: 'IN_USE' });
  for (const guest of sharing) await impl.shutdown_drv(guest);
  await start(READONLY);
  await start(READONLY | SHARED);
});

test('a disk that is asked for twice is had in the stricter mode', async () => {
  const impl = over('memory');
  const path = await disk();
  for (const flags of [
    [0, READONLY],
    [READONLY, 0],
  ]) {
    const guest = await guestOf(impl, 'both');
    for (const one of flags) await impl.acquire_resource(guest, DISK, path, one);
    await impl.startup_drv(guest);
    const reader = await guestOf(impl, 'reader');
    await impl.acquire_resource(reader, DISK, path, READONLY);
    await assert.rejects(impl.startup_drv(reader), { code: 'IN_USE' });
    await impl.shutdown_drv(guest);
  }
});

test('the same guest does not run twice', async () => {
  const impl = over('memory');
  const uuid = randomUUID();
  for (const written of [uuid, uuid.replaceAll('-', '').toUpperCase()]) {
    const guest = await guestOf(impl, 'web1', 0, written);
    await impl.acquire_resource(guest, DISK, await disk(), 0);
    if (written === uuid) await impl.startup_drv(guest);
    else await assert.rejects(impl.startup_drv(guest), { code: 'IN_USE' });
  }
});

test('load and unload: what is asked for is there or named, and what runs is not unloaded', async () => {
  const impl = over('memory');
  assert.equal(impl.version, 1);
  const all =
    VIR_LOCK_MANAGER_DRIVER_RESOURCES | VIR_LOCK_MANAGER_DRIVER_MIGRATE | VIR_LOCK_MANAGER_DRIVER_HOTPLUG;
  assert.equal(all, 7);
  assert.equal(impl.flags, all);
  for (const version of [0, 2]) {
    await assert.rejects(impl.load_drv(version, 0), { code: 'UNSUPPORTED', remedy: /version 1/ });
  }
  await assert.rejects(impl.load_drv(1, 8), { code: 'UNSUPPORTED', remedy: /HOTPLUG \(4\)/ });

  await impl.load_drv(1, all);
  await impl.load_drv(1, 0);
  const guest = await guestOf(impl, 'web1');
  await impl.acquire_resource(guest, DISK, await disk(), 0);
  await impl.startup_drv(guest);
  await impl.unload_drv();
  await assert.rejects(impl.unload_drv(), { code: 'USAGE', message: /1 guests were not shut down/ });
  await impl.shutdown_drv(guest);
  await impl.unload_drv();
  await impl.unload_drv();
});

test('hotplug and unplug while the guest runs', async () => {
  const impl = over('memory');
  const [first, plugged, taken] = [await disk(), await disk(), await disk()];
  const other = await guestOf(impl, 'other');
  await impl.acquire_resource(other, DISK, taken, 0);
  await impl.startup_drv(other);

  const guest = await guestOf(impl, 'web1');
  await impl.acquire_resource(guest, DISK, first, 0);
  await impl.startup_drv(guest);
  await impl.acquire_resource(guest, DISK, plugged, 0);
  await assert.rejects(impl.acquire_resource(guest, DISK, taken, 0), { code: 'IN_USE', resource: taken });
  await assert.rejects(impl.acquire_resource(other, DISK, plugged, 0), { code: 'IN_USE' });

  await impl.release_resource(guest, DISK, plugged, 0);
  await impl.acquire_resource(other, DISK, plugged, 0);
  await assert.rejects(impl.acquire_resource(other, DISK, first, 0), { code: 'IN_USE' });
  await assert.rejects(impl.release_resource(guest, DISK, plugged, 0), { code: 'USAGE' });
  await impl.shutdown_drv(guest);
  await impl.acquire_resource(other, DISK, first, 0);
});

test('a resource that was noted can be forgotten before the start', async () => {
  const impl = over('memory');
  const [kept, forgotten] = [await disk(), await disk()];
  const guest = await guestOf(impl, 'web1');
  for (const path of [kept, forgotten]) await impl.acquire_resource(guest, DISK, path, 0);
  await impl.release_resource(guest, DISK, forgotten, 0);
  await impl.startup_drv(guest);
  const other = await guestOf(impl, 'other');
  await impl.acquire_resource(other, DISK, forgotten, 0);
  await impl.startup_drv(other);
});

test('a caller that restarted attaches to a guest whose hold is there', async () => {
  const space = randomUUID();
  const [before, afterwards] = [over('memory', space), over('memory', space)];
  const uuid = randomUUID();
  const path = await disk();
  const guest = await guestOf(before, 'web1', 0, uuid);
  await before.acquire_resource(guest, DISK, path, 0);
  await before.startup_drv(guest);

  const again = await guestOf(afterwards, 'web1', ATTACH, uuid);
  await afterwards.acquire_resource(again, DISK, path, 0);
  await assert.rejects(afterwards.startup_drv(again), { code: 'USAGE', remedy: /attach_drv/ });
  await afterwards.attach_drv(again);
  await assert.rejects(afterwards.release_resource(again, DISK, path, 0), { code: 'UNSUPPORTED' });
  const plugged = await disk();
  await afterwards.acquire_resource(again, DISK, plugged, 0);
  await afterwards.release_resource(again, DISK, plugged, 0);
  await assert.rejects(afterwards.prepare_migrate_drv(again, 'qemu://b/system'), { code: 'UNSUPPORTED' });
  await afterwards.shutdown_drv(again);

  await before.shutdown_drv(guest);
  const gone = await guestOf(afterwards, 'web1', ATTACH, uuid);
  await assert.rejects(afterwards.attach_drv(gone), { code: 'LOST' });
});

test('a migration: the destination has the disks when the source is through, or the source keeps them', async () => {
  const space = randomUUID();
  const [here, there] = [over('memory', space), over('memory', space)];
  const uuid = randomUUID();
  const path = await disk();
  const source = await guestOf(here, 'web1', 0, uuid);
  await here.acquire_resource(source, DISK, path, 0);
  await here.startup_drv(source);

  const arrive = async (): Promise<ManagedGuest> => {
    const target = await guestOf(there, 'web1', MIGRATE, uuid);
    await there.acquire_resource(target, DISK, path, 0);
    await there.startup_drv(target);
    return target;
  };
  const cancelled = await arrive();
  await here.prepare_migrate_drv(source, 'qemu://there/system');
  await there.complete_migrate_in_drv(cancelled, CANCEL);
  await here.complete_migrate_out_drv(source, CANCEL);

  const target = await arrive();
  await here.prepare_migrate_drv(source, 'qemu://there/system');
  const early = await arrive();
  await assert.rejects(there.complete_migrate_in_drv(early, 0), { code: 'IN_USE' });
  await here.complete_migrate_out_drv(source, 0);
  await there.complete_migrate_in_drv(target, 0);
  await assert.rejects(here.complete_migrate_out_drv(source, 0), { code: 'ENDED' });

  const other = await guestOf(here, 'other');
  await here.acquire_resource(other, DISK, path, 0);
  await assert.rejects(here.startup_drv(other), { code: 'IN_USE' });
  await there.shutdown_drv(target);
  await here.startup_drv(other);
});

test('calls out of order, and values that are none, say what is wrong', async () => {
  const impl = over('memory');
  const path = await disk();
  await assert.rejects(impl.new_drv(7, 0), { code: 'USAGE' });
  await assert.rejects(impl.new_drv(DOMAIN, 4), { code: 'USAGE' });

  const bare = await impl.new_drv(DOMAIN, 0);
  await impl.acquire_resource(bare, DISK, path, 0);
  await assert.rejects(impl.startup_drv(bare), { code: 'USAGE', message: /`uuid` was not set/ });
  await assert.rejects(impl.set_parameter_drv(bare, 'uuid', 'web1'), { code: 'BAD_UUID' });
  await assert.rejects(impl.set_parameter_drv(bare, 'colour', 'red'), { code: 'USAGE' });
  await impl.set_parameter_drv(bare, 'uuid', randomUUID());
  await assert.rejects(impl.startup_drv(bare), { code: 'USAGE', message: /`name` was not set/ });
  await assert.rejects(impl.acquire_resource(bare, 1, path, 0), { code: 'USAGE' });
  await assert.rejects(impl.acquire_resource(bare, DISK, path, 4), { code: 'USAGE' });
  await assert.rejects(impl.complete_migrate_in_drv(bare, 0), { code: 'USAGE' });
  await assert.rejects(impl.prepare_migrate_drv(bare, 'x'), { code: 'USAGE' });

  await impl.set_parameter_drv(bare, 'name', 'web1');
  await impl.startup_drv(bare);
  await assert.rejects(impl.startup_drv(bare), { code: 'USAGE', message: /the guest is running/ });
  await assert.rejects(impl.set_parameter_drv(bare, 'name', 'web2'), { code: 'USAGE' });
  await impl.shutdown_drv(bare);
  await impl.shutdown_drv(bare);
  await assert.rejects(impl.startup_drv(bare), { code: 'ENDED' });
  await assert.rejects(impl.acquire_resource(bare, DISK, path, 0), { code: 'ENDED' });
});

test('shutting down a guest that still starts leaves nothing behind', async () => {
  const impl = over('memory');
  const path = await disk();
  const guest = await guestOf(impl, 'web1');
  await impl.acquire_resource(guest, DISK, path, 0);
  const starting = impl.startup_drv(guest).catch(() => undefined);
  await impl.shutdown_drv(guest);
  await starting;
  const next = await guestOf(impl, 'next');
  await impl.acquire_resource(next, DISK, path, 0);
  await impl.startup_drv(next);
});

test('a table written to the proposal serves a caller written to it', async () => {
  const table = inMemoryTable();
  const impl = createLockManagerDriver(driverFromTable(table, { name: 'of-2010' }), { configuration: false });
  const path = await disk();
  const [first, second] = [await guestOf(impl, 'first'), await guestOf(impl, 'second')];
  for (const guest of [first, second]) await impl.acquire_resource(guest, DISK, path, 0);
  await impl.startup_drv(first);
  await assert.rejects(impl.startup_drv(second), { code: 'IN_USE' });
  assert.deepEqual([...table.held.keys()], [path]);
  await impl.shutdown_drv(first);
  await impl.startup_drv(second);
  await impl.shutdown_drv(second);
  await impl.unload_drv();
  assert.equal(table.calls.at(-1), 'unload');
  assert.equal(table.held.size, 0);
});

test('docs/from-the-rfc.md maps every call', () => {
  const text = readFileSync(new URL('../../docs/from-the-rfc.md', import.meta.url), 'utf8');
  for (const name of Object.keys(over('memory'))) assert.ok(text.includes(`\`${name}`), name);
});

const space = randomUUID();
const sameGuest = 'two grants of one owner are one guest that runs twice';
runWithNodeTest(
  test,
  await driverConformance({
    factory: driverFromTable(over('memory', space), { name: 'there-and-back' }),
    makeResource: async () => {
      const path = await disk();
      const { dev, ino } = inodeOf(statSync(path, { bigint: true }));
      return {
        kind: 'disk',
        identity: `${dev}:${ino}`,
        label: path,
        storage: 'file',
        scope: 'host',
        path,
        realPath: path,
      };
    },
    skip: {
      'no request at all is granted': 'the manager has nothing to lock for a guest without disks',
      'a release touches no other grant': sameGuest,
      'holders sees who holds, from either side': 'a table of 2010 cannot be asked who holds',
      'holders names the owner, with uuid and pid': 'a table of 2010 cannot be asked who holds',
      'adopt takes up what is held, and no gap opens': 'the locks live in the process of the guest',
    },
  }),
);

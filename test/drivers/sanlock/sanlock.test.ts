/** The sanlock driver against two real daemons, which are two hosts. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import type { AcquireProgress, Driver, DriverSettings, Grant } from '../../../src/driver/contract.js';
import { addLockspace } from '../../../src/drivers/sanlock/client-library.js';
import sanlockDriver from '../../../src/drivers/sanlock/sanlock.js';
import { isHoldfastError, type HoldfastError } from '../../../src/errors.js';
import type { LockRequest, Mode, Owner, Resource } from '../../../src/vocabulary.js';
import { fileResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { startRemoteDriver, type RemoteDriver } from '../../beds/remote-driver.js';
import {
  leaseResource,
  makeLease,
  makeLockspace,
  startSanlockPair,
  type SanlockFile,
  type SanlockHost,
} from '../../beds/sanlock.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const skip = lacks('sanlock');
const { signal } = new AbortController();
const owner: Owner = {
  kind: 'command',
  name: 'web 1',
  uuid: '3b8f9d0e-0000-4000-8000-000000000001',
  pid: process.pid,
  startTime: 1,
  host: 'a',
  hostId: 'b',
};
/** libvirt's own settings on this machine do not matter. */
const settings: DriverSettings = { qemu_sanlock_conf: '/nonexistent' };

let alpha: SanlockHost;
let beta: SanlockHost;
let file: SanlockFile;
let onBeta: RemoteDriver;
let made = 0;

const start = async (given: DriverSettings = settings): Promise<Driver> => sanlockDriver.start(given);
const asked = (resources: readonly Resource[], mode: Mode = 'exclusive'): LockRequest[] =>
  resources.map((resource) => ({ resource, mode }));
const lease = (): Promise<Resource> => makeLease(file, made++);
const leases = async (count: number): Promise<Resource[]> => {
  const resources: Resource[] = [];
  while (resources.length < count) resources.push(await lease());
  return resources;
};
const take = (driver: Driver, resources: readonly Resource[], mode?: Mode): Promise<Grant> =>
  driver.acquire(owner, asked(resources, mode), { signal });

async function refusal(work: Promise<unknown>): Promise<HoldfastError> {
  try {
    await work;
  } catch (error) {
    assert.ok(isHoldfastError(error), String(error));
    return error;
  }
  assert.fail('it was not refused');
}

async function assertNothingHeld(host: SanlockHost): Promise<void> {
  assert.doesNotMatch(await host.client('status'), /^r /m);
}

before(async () => {
  if (skip !== false) return;
  file = await makeLockspace(join(folder, 'leases: of all'), 'cluster');
  [alpha, beta] = await startSanlockPair(folder, file);
  onBeta = await startRemoteDriver('sanlock', settings, beta.env);
});

after(async () => {
  if (skip !== false) return;
  await onBeta?.kill();
  await Promise.all([alpha?.stop(), beta?.stop()]);
});

test(
  'a refusal on this host names the pid, and on another one the host, its id and generation',
  { skip },
  async () => {
    const driver = await start();
    const disk = await lease();
    const grant = await take(driver, [disk]);
    const here = await refusal(take(await start(), [disk]));
    assert.equal(here.code, 'IN_USE');
    assert.deepEqual(
      here.holders.map(({ pid, host, name, mode }) => ({ pid, host, name, mode })),
      [{ pid: process.pid, host: 'this host', name: 'web_1', mode: 'exclusive' }],
    );
    const there = await refusal(take(onBeta.driver, [disk]));
    assert.equal(there.code, 'IN_USE');
    assert.equal(there.holders[0]?.host, 'alpha');
    assert.match(there.holders[0]?.through[0] ?? '', /^sanlock \(host id 1, generation 1\)$/);
    await driver.release(grant);
    await onBeta.driver.release(await take(onBeta.driver, [disk]));
  },
);

test('shared leases are held on both hosts at once, and keep who wants it alone out', { skip }, async () => {
  const driver = await start();
  const disk = await lease();
  const here = await take(driver, [disk], 'shared');
  const there = await take(onBeta.driver, [disk], 'shared');
  assert.deepEqual(here.tokens, {});
  assert.equal((await driver.holders(disk)).length, 2);
  const refused = await refusal(take(driver, [disk]));
  assert.equal(refused.code, 'IN_USE');
  await driver.release(here);
  assert.equal((await refusal(take(driver, [disk]))).holders[0]?.host, 'beta');
  await onBeta.driver.release(there);
  await driver.release(await take(driver, [disk]));
});

test('of several leases one that the other host has is enough: none is taken', { skip }, async () => {
  const driver = await start();
  const all = await leases(3);
  const [, second] = all;
  assert.ok(second !== undefined);
  const there = await take(onBeta.driver, [second]);
  const refused = await refusal(take(driver, all));
  assert.deepEqual([refused.code, refused.resource], ['IN_USE', second.label]);
  await assertNothingHeld(alpha);
  await onBeta.driver.release(there);
});

test('8 leases are granted, and 9 refused before any is taken', { skip }, async () => {
  const driver = await start();
  const all = await leases(9);
  const before = alpha.log().length;
  const refused = await refusal(take(driver, all));
  assert.equal(refused.code, 'CANNOT_LOCK');
  assert.match(refused.message, /need 9 sanlock leases, and sanlock takes at most 8/);
  assert.doesNotMatch(alpha.log().slice(before), /cmd_acquire/);
  const eight = await take(driver, all.slice(0, 8));
  const more = refusal(
    driver.extend?.(eight, owner, asked(all.slice(8)), { signal }) ?? Promise.resolve(undefined),
  );
  assert.equal((await more).code, 'CANNOT_LOCK');
  // Another hold of the same process has 8 of its own.
  const other = await take(driver, all.slice(8));
  await driver.release(eight);
  await driver.release(other);
  await assertNothingHeld(alpha);
});

test(
  'a lease that was never made, or is another one, and a lockspace that is not joined: each has its code',
  { skip },
  async () => {
    const driver = await start();
    const [one] = await leases(2);
    assert.ok(one !== undefined);
    const never = await refusal(take(driver, [leaseResource(file, made + 5)]));
    assert.equal(never.code, 'NO_LEASE');
    assert.match(never.remedy, /holdfast lease init 'cluster:lease-\d+:.*leases\\: of all:\d+'/);
    const other = await refusal(take(driver, [leaseResource(file, made - 1, 'another')]));
    assert.equal(other.code, 'NO_LEASE');
    const elsewhere = { ...file, lockspace: 'elsewhere' };
    const joined = await refusal(take(driver, [leaseResource(elsewhere, made - 1)]));
    assert.equal(joined.code, 'NOT_JOINED');
    assert.match(joined.remedy, /add_lockspace -s elsewhere:/);
    const gone = await refusal(take(driver, [leaseResource({ ...file, path: join(folder, 'gone') }, 0)]));
    assert.equal(gone.code, 'NO_LEASE');
    assert.equal((await refusal(driver.holders(leaseResource(file, made + 5)))).code, 'NO_LEASE');
  },
);

test(
  'without a daemon it is said so, with what starts it, and who asks only for a look is told as well',
  { skip },
  async () => {
    const disk = await lease();
    const lonely = await startRemoteDriver('sanlock', settings, { SANLOCK_RUN_DIR: join(folder, 'nobody') });
    try {
      const { driver } = lonely;
      const refused = await refusal(take(driver, [disk]));
      assert.equal(refused.code, 'DRIVER_FAILED');
      assert.match(refused.remedy, /systemctl start sanlock/);
      const [looked] = (await driver.probe?.(asked([disk]))) ?? [];
      assert.equal(looked?.free, false);
      assert.equal((await refusal(driver.holders(disk))).code, 'DRIVER_FAILED');
    } finally {
      await lonely.kill();
    }
  },
);

test(
  'a suspended hold is resumed with its version, unless the other host had one of its leases',
  { skip },
  async () => {
    const driver = await start();
    for (const mode of ['exclusive', 'shared'] as const) {
      const [one, two] = await leases(2);
      assert.ok(one !== undefined && two !== undefined);
      let grant = await take(driver, [one, two], mode);
      await driver.suspend?.(grant);
      await assertNothingHeld(alpha);
      grant = (await driver.resume?.(grant, { signal })) ?? assert.fail();
      assert.deepEqual(
        grant.requests.map(({ mode: had }) => had),
        [mode, mode],
      );
      assert.equal((await refusal(take(onBeta.driver, [two]))).code, 'IN_USE');
      await driver.suspend?.(grant);
      const meanwhile = await take(onBeta.driver, [two]);
      const resume = (): Promise<Grant> => driver.resume?.(grant, { signal }) ?? assert.fail();
      assert.equal((await refusal(resume())).code, 'LOST');
      await onBeta.driver.release(meanwhile);
      assert.equal((await refusal(resume())).code, 'LOST');
      await assertNothingHeld(alpha);
      await driver.release(grant);
    }
  },
);

test('the state that travels along is the string of sanlock itself', { skip }, async () => {
  const driver = await start();
  const short = await makeLockspace(join(folder, 'state'), 'state');
  await alpha.join(short, 1);
  const disk = await makeLease(short, 0);
  const grant = await take(driver, [disk]);
  const state = await driver.inquire?.(grant);
  assert.equal(state, `state:lease-0:${short.path}:1048576:1`);
  assert.equal((await alpha.client('inquire', '-p', String(process.pid))).includes(state), true);
  assert.deepEqual(grant.tokens, { [disk.identity]: 'state:lease-0:1' });
  await driver.release(grant);
});

test(
  "a disk has libvirt's lease: it is made, and its lockspace joined, with a word of how long that takes",
  { skip },
  async () => {
    const directory = join(folder, 'disk leases');
    mkdirSync(directory);
    chmodSync(directory, 0o755);
    const given = { ...settings, auto_disk_leases: true, disk_lease_dir: directory, io_timeout: 1 };
    const disk = fileResource(join(folder, 'disk.img'));
    const progress: AcquireProgress[] = [];
    const refused = await refusal(take(await start(given), [disk]));
    assert.equal(refused.code, 'NOT_JOINED');

    const driver = await start({ ...given, host_id: 1 });
    const options = { signal, progress: (one: AcquireProgress) => void progress.push(one) };
    const grant = await driver.acquire(owner, asked([disk]), options);
    assert.deepEqual(progress, [
      { what: 'joining the lockspace __LIBVIRT__DISKS__ as host 1', expectedMs: 2000, mostMs: 74_000 },
    ]);
    const name = createHash('md5')
      .update(disk.path ?? '')
      .digest('hex');
    assert.equal(statSync(join(directory, name)).size, 1024 * 1024);
    assert.match(
      await alpha.client('status'),
      new RegExp(`^r __LIBVIRT__DISKS__:${name}:.*:0:1 p ${process.pid}$`, 'm'),
    );
    const again = await refusal(take(driver, [disk]));
    assert.equal(again.code, 'IN_USE');
    await driver.release(grant);
    assert.deepEqual(await driver.holders(fileResource(join(folder, 'other.img'))), []);
    assert.equal(
      existsSync(join(directory, createHash('md5').update(join(folder, 'other.img')).digest('hex'))),
      false,
    );
  },
);

test(
  'a lockspace of the settings is joined, and one that somebody is just joining waited for, with a word of how long',
  { skip },
  async () => {
    const [named, begun, unknown] = await Promise.all(
      ['named', 'begun', 'unknown'].map((name) => makeLockspace(join(folder, `ls: ${name}`), name)),
    );
    assert.ok(named !== undefined && begun !== undefined && unknown !== undefined);
    const resources = await Promise.all([named, begun].map((each) => makeLease(each, 0)));
    const place = named.path.replaceAll(':', '\\:');
    const driver = await start({ ...settings, io_timeout: 1, lockspaces: [`named:1:${place}:0`] });
    await addLockspace({ name: begun.lockspace, hostId: 1, path: begun.path, offset: 0 }, 1);
    const progress: AcquireProgress[] = [];
    const options = { signal, progress: (one: AcquireProgress) => void progress.push(one) };
    const grant = await driver.acquire(owner, asked(resources), options);
    assert.deepEqual(progress.map(({ what }) => what).toSorted(), [
      'joining the lockspace begun as host 1',
      'joining the lockspace named as host 1',
    ]);
    assert.deepEqual(Object.values(grant.tokens).toSorted(), ['begun:lease-0:1', 'named:lease-0:1']);
    await driver.release(grant);
    const refused = await refusal(take(driver, [await makeLease(unknown, 0)]));
    assert.equal(refused.code, 'NOT_JOINED');
    assert.match(refused.remedy, /add_lockspace -s unknown:HOST_ID.*lockspaces in \[driver\.sanlock\]/);
  },
);

test('lockspaces of the settings are written as sanlock writes them', { skip }, async () => {
  for (const wrong of [
    'ls:1:/p:0',
    ['ls:1:p:0'],
    ['ls:0:/p:0'],
    ['ls:2001:/p:0'],
    ['ls:/p:0'],
    ['ls:1:/p'],
    [1],
  ]) {
    await assert.rejects(
      start({ ...settings, lockspaces: wrong }),
      { code: 'CONFIG' },
      JSON.stringify(wrong),
    );
  }
  await start({ ...settings, lockspaces: ['ls:2000:/p\\:q:1048576'] });
});

test('what has no lease is for another driver', { skip }, async () => {
  const driver = await start();
  const guest: Resource = {
    kind: 'domain',
    identity: 'domain:1',
    label: 'web1',
    storage: 'name',
    scope: 'cluster',
  };
  const mapped = driver.mapRequest?.({ resource: guest, mode: 'exclusive' });
  assert.equal(mapped?.can, false);
  assert.match(mapped.can ? '' : (mapped.remedy ?? ''), /--driver sanlock,fcntl/);
});

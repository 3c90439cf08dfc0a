/** Records on shared files: left, read, removed, and never believed without the lock that they tell of. */
import assert from 'node:assert/strict';
import { closeSync, copyFileSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Driver, Grant } from '../../../src/driver/contract.js';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import { formatRecord, type HolderRecord } from '../../../src/drivers/fcntl/holder-record.js';
import { isHoldfastError, type HoldfastError } from '../../../src/errors.js';
import { bootId, hostName, machineId } from '../../../src/system/host.js';
import { tryLock } from '../../../src/system/ofd-lock.js';
import { processStartTime } from '../../../src/system/process.js';
import { attributeNames, createAttribute } from '../../../src/system/xattr.js';
import type { Holder, LockRequest, Mode, Owner, Resource } from '../../../src/vocabulary.js';
import { fileResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { skipBecause } from '../../needs.js';

const folder = privateRuntime();
let count = 0;
const newDisk = (): string => join(folder, `disk ${++count}`);
const shared = (path: string): Resource => ({
  ...fileResource(path),
  identity: `fs:test:${path}`,
  scope: 'cluster',
});
const asked = (resource: Resource, mode: Mode = 'exclusive'): LockRequest => ({ resource, mode });
const options = { signal: new AbortController().signal };

const owner: Owner = {
  kind: 'domain',
  name: 'web1',
  uuid: '6c1f2a30-1111-4222-8333-444455556666',
  pid: process.pid,
  startTime: processStartTime(process.pid) ?? 0,
  host: hostName(),
  hostId: machineId(),
};

/** As another host writes it. */
const foreign: HolderRecord = {
  ...owner,
  version: 1,
  host: 'node-b',
  hostId: 'b'.repeat(32),
  bootId: '11111111-2222-4333-8444-555555555555',
  pid: 5783,
  mode: 'exclusive',
  since: '2026-02-03T04:05:06Z',
  path: "/srv/it's/web1.img",
};

function attributesOf(path: string): string[] {
  const fd = openSync(path, 'r');
  try {
    return attributeNames(fd).filter((name) => name.startsWith('user.holdfast.'));
  } finally {
    closeSync(fd);
  }
}

const digits = (): string => (++count).toString(16).padStart(12, '0');
const witnessOf = (id: string): number => 2 ** 52 + Number.parseInt(id, 16);

/** Writes a record as another host's Holdfast does; `witness` and `byte`: the locks that it has. */
function leave(
  path: string,
  value: Buffer,
  locks: { witness?: boolean; byte?: 'read' | 'write'; id?: string },
): number {
  const { witness = false, byte, id = digits() } = locks;
  const fd = openSync(path, 'r+');
  if (byte !== undefined) assert.ok(tryLock(fd, byte, 0));
  if (witness) assert.ok(tryLock(fd, 'read', witnessOf(id)));
  createAttribute(fd, `user.holdfast.${id}`, value);
  return fd;
}

async function refusal(driver: Driver, request: LockRequest): Promise<HoldfastError> {
  try {
    await driver.release(await driver.acquire(owner, [request], options));
  } catch (error) {
    assert.ok(isHoldfastError(error, 'IN_USE'), String(error));
    return error;
  }
  return assert.fail('it was granted');
}

const names = (holders: readonly Holder[] | undefined): unknown[] =>
  (holders ?? []).map(({ guest }) => guest);

function supported(): string | false {
  const fd = openSync(newDisk(), 'w');
  try {
    createAttribute(fd, 'user.test', Buffer.from('x'));
    return false;
  } catch (error) {
    return `the file system of ${folder} has no attributes (${String(error)})`;
  } finally {
    closeSync(fd);
  }
}

describe('records of holders', () => {
  let driver: Driver;
  let other: Driver;
  let disk: string;
  const lacking = supported();

  before(async () => {
    driver = await fcntl.start({ libvirt_config_dirs: [] });
    other = await fcntl.start({ libvirt_config_dirs: [] });
  });

  const acquire = (...requests: LockRequest[]): Promise<Grant> => driver.acquire(owner, requests, options);

  const check = (name: string, work: () => void | Promise<void>): void => {
    test(name, async (t) => {
      if (lacking !== false) return skipBecause(t, lacking);
      disk = newDisk();
      writeFileSync(disk, '');
      await work();
    });
  };

  check('left with the lock, gone with it', async () => {
    const grant = await acquire(asked(shared(disk)));
    assert.equal(attributesOf(disk).length, 1);
    await driver.release(grant);
    assert.deepEqual(attributesOf(disk), []);
  });

  check('a file of this host alone gets none, nor does a refused request leave one', async () => {
    const grant = await acquire(asked(fileResource(disk)));
    assert.deepEqual(attributesOf(disk), []);
    await refusal(other, asked(shared(disk)));
    assert.deepEqual(attributesOf(disk), []);
    await driver.release(grant);
  });

  check('leave_record = false leaves none, and reads those of others', async () => {
    const silent = await fcntl.start({ libvirt_config_dirs: [], leave_record: false });
    const grant = await silent.acquire(owner, [asked(shared(disk), 'read')], options);
    assert.deepEqual(attributesOf(disk), []);
    const loud = await acquire(asked(shared(disk), 'read'));
    assert.deepEqual(names((await refusal(silent, asked(shared(disk)))).holders), ['web1']);
    await driver.release(loud);
    await silent.release(grant);
    const wrong = async (): Promise<unknown> => fcntl.start({ leave_record: 'no' });
    await assert.rejects(wrong, { code: 'CONFIG' });
  });

  check('an extension leaves one, shrinking takes it back', async () => {
    const second = newDisk();
    const resource = shared(second);
    const grant = await acquire(asked(shared(disk)));
    const grown = await driver.extend?.(grant, owner, [asked(resource, 'read')], options);
    assert.equal(attributesOf(second).length, 1);
    assert.ok(grown !== undefined);
    const left = await driver.shrink?.(grown, [resource.identity]);
    assert.deepEqual([attributesOf(second).length, attributesOf(disk).length], [0, 1]);
    assert.ok(left !== undefined);
    await driver.release(left);
    assert.deepEqual(attributesOf(disk), []);
  });

  check('the refusal, the probe and the holders name who left it', async () => {
    const resource = shared(disk);
    const fd = leave(disk, formatRecord(foreign), { witness: true, byte: 'write' });
    const expected: Partial<Holder> = {
      guest: 'web1',
      uuid: foreign.uuid,
      pid: 5783,
      host: 'node-b',
      since: foreign.since,
      mode: 'exclusive',
      refuses: ['exclusive', 'shared', 'read', 'part'],
    };
    const { holders, message } = await refusal(driver, asked(resource, 'read'));
    assert.match(message, /is in use/);
    const probed = await driver.probe?.([asked(resource)]);
    for (const list of [holders, probed?.[0]?.holders, await driver.holders(resource)]) {
      assert.equal(list?.length, 1);
      assert.deepEqual({ ...list?.[0], ...expected }, list?.[0]);
      assert.equal(list?.[0]?.remedy, `on node-b: holdfast who '/srv/it'\\''s/web1.img', or wait for it`);
    }
    closeSync(fd);
  });

  check('in this process it is said to be here, with the pid', async () => {
    const grant = await acquire(asked(shared(disk)));
    const [holder] = (await refusal(other, asked(shared(disk)))).holders;
    assert.deepEqual([holder?.host, holder?.pid], ['this host', process.pid]);
    await driver.release(grant);
  });

  check('a pid of another space of pids is not given for one of this', async () => {
    const elsewhere = { ...foreign, bootId: bootId(), pid: process.pid, startTime: owner.startTime + 1 };
    const fd = leave(disk, formatRecord(elsewhere), { witness: true, byte: 'write' });
    const [holder] = (await refusal(driver, asked(shared(disk)))).holders;
    assert.deepEqual([holder?.host, holder?.guest, holder?.pid], ['this host', 'web1', undefined]);
    closeSync(fd);
  });

  check('a host with a copy of the machine-id is another one, and that is said', async () => {
    const copy = { ...foreign, hostId: machineId(), host: hostName() };
    const fd = leave(disk, formatRecord(copy), { witness: true, byte: 'write' });
    const [holder] = (await refusal(driver, asked(shared(disk)))).holders;
    assert.equal(holder?.host, `another host that is called ${hostName()} too`);
    assert.match(holder?.evidence.join('\n') ?? '', /has the machine-id of this host/);
    closeSync(fd);
  });

  check('each of those who share has its own, and those are named who are in the way', async () => {
    const resource = shared(disk);
    const own = await acquire(asked(resource, 'read'));
    const fd = leave(disk, formatRecord({ ...foreign, name: 'db1', mode: 'read' }), {
      witness: true,
      byte: 'read',
    });
    assert.ok(tryLock(fd, 'read', 3));
    assert.deepEqual(
      new Set(names((await refusal(other, asked(resource))).holders)),
      new Set(['db1', 'web1']),
    );
    await driver.release(own);
    assert.equal(attributesOf(disk).length, 1, 'the other one stays');
    assert.deepEqual(names((await refusal(other, asked(resource))).holders), ['db1']);
    closeSync(fd);
  });

  check('who shares it too is not blamed for what another one does', async () => {
    const resource = shared(disk);
    const grant = await acquire(asked(resource, 'shared'));
    const fd = openSync(disk, 'r');
    // As a QEMU that forbids other writers.
    assert.ok(tryLock(fd, 'read', 100) && tryLock(fd, 'read', 201));
    const [holder, ...more] = (await refusal(other, asked(resource, 'shared'))).holders;
    assert.deepEqual([holder?.guest, holder?.through, more], [undefined, ["QEMU's own image lock"], []]);
    closeSync(fd);
    await driver.release(grant);
  });

  check('a record whose holder died is not believed of the next one, and removed by him', async () => {
    const resource = shared(disk);
    closeSync(leave(disk, formatRecord(foreign), { witness: true, byte: 'write' }));
    // As virtlockd holds it: it leaves no record.
    const fd = openSync(disk, 'r+');
    assert.ok(tryLock(fd, 'write', 0));
    const { holders } = await refusal(driver, asked(resource));
    assert.deepEqual(names(holders), [undefined]);
    assert.equal(holders[0]?.host, undefined);
    closeSync(fd);
    assert.equal(attributesOf(disk).length, 1);
    const grant = await acquire(asked(resource));
    assert.equal(attributesOf(disk).length, 1);
    assert.deepEqual(names(await other.holders(resource)), ['web1']);
    await driver.release(grant);
    assert.deepEqual(attributesOf(disk), []);
  });

  check('tidying removes what a dead holder left, and nothing of one that lives', async () => {
    const grant = await acquire(asked(shared(disk)));
    const [alive] = attributesOf(disk);
    closeSync(leave(disk, formatRecord(foreign), {}));
    await other.tidy?.([asked(shared(disk))]);
    assert.deepEqual(attributesOf(disk), [alive]);
    await driver.release(grant);
  });

  check("a lock on the whole file is nobody's witness", async () => {
    closeSync(leave(disk, formatRecord({ ...foreign, mode: 'read' }), {}));
    const fd = openSync(disk, 'r+');
    assert.ok(tryLock(fd, 'read', 0, 0));
    assert.deepEqual(names((await refusal(driver, asked(shared(disk)))).holders), [undefined]);
    closeSync(fd);
  });

  check('a copy of an image does not take its holder along', async () => {
    const copy = newDisk();
    const grant = await acquire(asked(shared(disk)));
    copyFileSync(disk, copy);
    const source = attributesOf(disk)[0]?.slice('user.holdfast.'.length);
    // cp --preserve=xattr and rsync -X copy attributes too.
    closeSync(leave(copy, formatRecord(foreign), { ...(source === undefined ? {} : { id: source }) }));
    const fd = openSync(copy, 'r+');
    assert.ok(tryLock(fd, 'write', 0));
    assert.deepEqual(names((await refusal(other, asked(shared(copy)))).holders), [undefined]);
    closeSync(fd);
    await driver.release(grant);
  });

  check(
    'whatever stands in attributes of that name, the refusal is the same, and no lock is kept from anyone',
    async () => {
      const resource = shared(disk);
      const values = fc.oneof(
        fc.uint8Array({ maxLength: 1500 }).map((bytes) => Buffer.from(bytes)),
        fc.json().map((text) => Buffer.from(text)),
        fc
          .tuple(fc.constantFrom(...Object.keys(foreign)), fc.constantFrom(null, -1, {}, []))
          .filter(([key]) => key !== 'path')
          .map(([key, value]) => Buffer.from(JSON.stringify({ ...foreign, [key]: value }))),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(values, { maxLength: 3 }), async (list) => {
          const fd = openSync(disk, 'r+');
          assert.ok(tryLock(fd, 'write', 0));
          const fds = list.map((value) => leave(disk, value, { witness: true }));
          const { holders } = await refusal(driver, asked(resource));
          assert.deepEqual(
            holders.map(({ host, guest, through }) => [host, guest, ...through]),
            [[undefined, undefined, 'virtlockd or Holdfast']],
          );
          for (const one of [fd, ...fds]) closeSync(one);
          await driver.release(await acquire(asked(resource)));
          assert.deepEqual(attributesOf(disk), []);
        }),
        { numRuns: 40 },
      );
    },
  );

  check('names that are no record are left alone', async () => {
    const fd = openSync(disk, 'w');
    for (const name of ['user.holdfast.note', 'user.holdfast.0123456789AB', 'user.other']) {
      createAttribute(fd, name, Buffer.from('x'));
    }
    closeSync(fd);
    await driver.release(await acquire(asked(shared(disk))));
    assert.deepEqual(
      new Set(attributesOf(disk)),
      new Set(['user.holdfast.0123456789AB', 'user.holdfast.note']),
    );
  });

  check('where no record fits, the lock is granted all the same', async () => {
    const fd = openSync(disk, 'w');
    // ext4 gives all attributes of a file one block; where there is more room this only does no harm.
    for (let index = 0; index < 100; index++) {
      try {
        createAttribute(fd, `user.filler.${index}`, Buffer.alloc(200, 'x'));
      } catch {
        break;
      }
    }
    closeSync(fd);
    const grant = await acquire(asked(shared(disk)));
    await refusal(other, asked(shared(disk)));
    await driver.release(grant);
    assert.deepEqual(attributesOf(disk), []);
  });

  check('a lease on a shared directory has its record on the lock file', async () => {
    const lease = { lockspace: 'space', key: 'key', path: folder, offset: 0 };
    const resource: Resource = {
      kind: 'lease',
      identity: 'lease:space:key',
      label: 'space:key',
      storage: 'name',
      scope: 'cluster',
      lease,
    };
    const grant = await acquire(asked(resource));
    assert.equal(attributesOf(join(folder, 'space/key')).length, 1);
    // Both locks, that by identity and that of the file, are this process's; the file's record names it.
    assert.deepEqual(names((await refusal(other, asked(resource))).holders), ['web1']);
    await driver.release(grant);
    assert.deepEqual(attributesOf(join(folder, 'space/key')), []);
  });
});

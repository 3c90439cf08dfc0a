/** The layouts of the structs, against the real library and a real daemon. */
import assert from 'node:assert/strict';
import { closeSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import * as library from '../../../src/drivers/sanlock/client-library.js';
import {
  encodeOptions,
  encodeResource,
  type SanlockResource,
} from '../../../src/drivers/sanlock/client-structs.js';
import { SanlockError } from '../../../src/drivers/sanlock/sanlock-error.js';
import { privateFolder } from '../../beds/private-folder.js';
import { makeLockspace, startSanlock, type SanlockFile, type SanlockHost } from '../../beds/sanlock.js';
import { lacks } from '../../needs.js';

const MiB = 1024 * 1024;
const folder = privateFolder();
const skip = lacks('sanlock');
/** As long as a name can be: without a final 0. */
const longest = 'N'.repeat(48);
/** With one more the daemon's own string for it has a stray byte (3.8.5). */
const long = 'L'.repeat(47);
let host: SanlockHost;
let file: SanlockFile;

const resource = (n: number, name: string, more: Partial<SanlockResource> = {}): SanlockResource => ({
  lockspace: 'library',
  name,
  disks: [{ path: file.path, offset: n * MiB }],
  ...more,
});

before(async () => {
  if (skip !== false) return;
  file = await makeLockspace(join(folder, 'a:colon'), 'library');
  truncateSync(file.path, 8 * MiB);
  host = await startSanlock(folder, 'host');
  Object.assign(process.env, host.env);
});

after(() => host?.stop());

async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof SanlockError, String(error));
    return error.code;
  }
  return 'none';
}

test('what is too long is refused before the library sees it: cut short it would be another name', () => {
  const place = { path: 'p', offset: 0 };
  assert.throws(() => encodeResource({ lockspace: 'l', name: `${longest}N`, disks: [place] }), RangeError);
  assert.throws(() => encodeResource({ lockspace: `${longest}N`, name: 'n', disks: [place] }), RangeError);
  assert.throws(() => encodeResource({ lockspace: 'l', name: 'n\0m', disks: [place] }), RangeError);
  const path = 'p'.repeat(1024);
  assert.throws(
    () => encodeResource({ lockspace: 'l', name: 'n', disks: [{ path, offset: 0 }] }),
    RangeError,
  );
  assert.equal(encodeOptions('x'.repeat(100)).subarray(0, 48).toString('latin1'), `${'x'.repeat(47)}\0`);
});

test(
  'a lease is written, read, taken, inquired after and given back with all its fields',
  { skip },
  async () => {
    assert.equal(await library.daemonVersion().then((version) => /^\d+\.\d+\.\d+$/.test(version)), true);
    assert.equal(await library.alignBytes({ path: file.path, offset: 0 }), MiB);
    const place = { path: file.path, offset: 0 };
    assert.deepEqual(await library.readLockspace({ name: '', hostId: 0, ...place }), {
      name: 'library',
      hostId: 1,
      ...place,
      ioTimeoutS: 1,
    });
    await library.writeResource(resource(1, longest));
    await library.writeResource(resource(2, 'two'));
    const read = await library.readResource(resource(1, ''));
    assert.deepEqual(read, {
      ...resource(1, longest),
      shared: false,
      lver: 0n,
      alignMib: 1,
      sectorBytes: 512,
    });
    await library.writeResource(resource(1, long));
    assert.equal(await code(library.readResource(resource(1, 'another'))), 'leaderResource');
    assert.equal(await code(library.readResource(resource(3, ''))), 'leaderMagic');

    const lockspace = { name: 'library', hostId: 7, ...place };
    assert.equal(await library.lockspaceState(lockspace), 'none');
    assert.equal(await code(library.inquireLockspace(lockspace)), 'ENOENT');
    await host.join(file, 7);
    await library.inquireLockspace(lockspace);
    assert.deepEqual(await library.joinedLockspaces(), [{ ...lockspace, state: 'joined' }]);

    const socket = library.register();
    try {
      await library.acquireLeases(socket, [resource(1, long), resource(2, 'two', { shared: true })], 'owner');
      const state = await library.inquire({ socket });
      assert.equal(await library.inquire({ pid: process.pid }), state);
      assert.deepEqual(
        library.parseState(state).map(({ name, lver, shared, disks }) => ({ name, lver, shared, disks })),
        [
          { name: long, lver: 1n, shared: false, disks: [{ path: file.path, offset: MiB }] },
          { name: 'two', lver: 0n, shared: true, disks: [{ path: file.path, offset: 2 * MiB }] },
        ].toSorted((a, b) => state.indexOf(a.name) - state.indexOf(b.name)),
      );
      const { area, owners } = await library.readOwners(resource(1, long));
      assert.equal(area.lver, 1n);
      assert.deepEqual(
        owners.map(({ hostId, generation }) => ({ hostId, generation })),
        [{ hostId: 7, generation: 1n }],
      );
      assert.equal((await library.readOwners(resource(2, 'two'))).area.shared, true);
      assert.equal(await code(library.acquireLeases(socket, [resource(1, long)], 'owner')), 'EEXIST');
      await library.convertLease(socket, resource(2, 'two'), true);
      assert.match(await host.client('status'), /^r library:two:.*:\d+ p /m);
      await library.killpath(socket, '/bin/true', 'x', true);
      await library.releaseLeases(socket, [resource(1, long)]);
      assert.equal(
        await code(library.acquireLeases(socket, [resource(1, long, { lver: 9n })], 'o')),
        'acquireLver',
      );
      await library.acquireLeases(socket, [resource(1, long, { lver: 1n })], 'owner');
      assert.match(await library.inquire({ socket }), new RegExp(`library:${long}:.*:2( |$)`));
      assert.equal(await code(library.removeLockspace(lockspace)), 'EBUSY');
      await library.releaseAllLeases(socket);
      assert.equal(await library.inquire({ socket }), '');
    } finally {
      closeSync(socket);
    }
  },
);

test('a place that is no file says so', { skip }, async () => {
  writeFileSync(join(folder, 'short'), '');
  const short = { ...resource(1, 'n'), disks: [{ path: join(folder, 'short'), offset: 0 }] };
  assert.equal(await code(library.readResource(short)), 'EMSGSIZE');
  const gone = { ...resource(1, 'n'), disks: [{ path: join(folder, 'gone'), offset: 0 }] };
  assert.equal(await code(library.readResource(gone)), 'ENOENT');
});

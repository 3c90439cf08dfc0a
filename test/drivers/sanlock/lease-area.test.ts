/** Areas are made and read by a real sanlock; a real daemon holds some of them. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readLeaseAreas } from '../../../src/drivers/sanlock/find-areas.js';
import { makeLeaseArea } from '../../../src/drivers/sanlock/lease-area.js';
import type { FoundLeaseArea } from '../../../src/driver/contract.js';
import { isHoldfastError, type HoldfastError } from '../../../src/errors.js';
import { parseLeaseArea, parseLeasePlace } from '../../../src/manager/lease-areas.js';
import { commandFolder, start, type Running } from '../../beds/command.js';
import { makeLockspace, startSanlock, type SanlockHost } from '../../beds/sanlock.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();
const MiB = 1024 * 1024;
const anew = { force: true };
const plain = { force: false };
let count = 0;
const newPath = (): string => join(folder, `area ${count++}:x.img`);

const refusal =
  (code: HoldfastError['code'], message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(isHoldfastError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  };

describe('areas of leases', { skip: lacks('sanlock') }, () => {
  const path = newPath();
  let host: SanlockHost;
  let holder: Running | undefined;
  before(async () => {
    // Before anything of the library: it looks once where the daemon is.
    host = await startSanlock(folder, 'alpha');
    Object.assign(process.env, host.env);
    // With a timeout of 1 s: to join one that says 10 s takes 20 s.
    await makeLockspace(path, 'ls');
    await makeLeaseArea({ lockspace: 'ls', name: 'a', path, offset: MiB }, plain);
    await host.join({ lockspace: 'ls', path }, 3);
  });
  after(async () => {
    holder?.child.kill();
    await host?.stop();
  });

  test('a file that is missing is made, one that is too short is made longer, and no more', async () => {
    const path = newPath();
    const { area, made } = await makeLeaseArea({ lockspace: 'ls', path, offset: 0 }, plain);
    assert.deepEqual(area, { lockspace: 'ls', path, offset: 0, bytes: MiB, sectorBytes: 512, hosts: [] });
    assert.equal(made, true);
    assert.equal(statSync(path).size, MiB);
    assert.equal(statSync(path).mode & 0o7777, 0o660);
    await makeLeaseArea({ lockspace: 'ls', name: 'b', path, offset: 2 * MiB }, plain);
    assert.equal(statSync(path).size, 3 * MiB);
    const [first, second, ...others] = await readLeaseAreas({ path });
    assert.deepEqual(first, area);
    assert.deepEqual([second?.name, second?.version, second?.offset, second?.hosts], ['b', '0', 2 * MiB, []]);
    assert.deepEqual(others, []);
    assert.deepEqual(await readLeaseAreas({ path, offset: MiB }), []);
    assert.deepEqual(await readLeaseAreas({ path, offset: 2 * MiB }), [second]);
  });

  test('what is there already stays as it is', async () => {
    const path = newPath();
    const place = { lockspace: 'ls', name: 'a', path, offset: 0 };
    await makeLeaseArea(place, plain);
    const before = readFileSync(path);
    assert.equal((await makeLeaseArea(place, plain)).made, false);
    assert.deepEqual(readFileSync(path), before);
    assert.equal((await makeLeaseArea(place, anew)).made, true);
  });

  test('another lease, a lockspace and foreign data are written over only if that is said', async () => {
    const path = newPath();
    await makeLeaseArea({ lockspace: 'ls', name: 'a', path, offset: 0 }, plain);
    const other = { lockspace: 'ls', name: 'b', path, offset: 0 };
    await assert.rejects(
      makeLeaseArea(other, plain),
      refusal('IN_USE', /has the lease ls:a at 0, not the lease ls:b/),
    );
    const lockspace = { lockspace: 'ls', path, offset: 0 };
    await assert.rejects(makeLeaseArea(lockspace, plain), refusal('IN_USE', /has the lease ls:a/));
    assert.equal((await makeLeaseArea(lockspace, anew)).area.name, undefined);
    await assert.rejects(makeLeaseArea(other, plain), refusal('IN_USE', /has the lockspace ls/));

    const data = newPath();
    writeFileSync(data, Buffer.alloc(MiB));
    writeFileSync(data, 'x', { flag: 'r+' });
    truncateSync(data, MiB);
    await assert.rejects(
      makeLeaseArea({ ...other, path: data }, plain),
      refusal('IN_USE', /has other data at 0/),
    );
    assert.equal(readFileSync(data).toString('utf8', 0, 1), 'x');
    // Behind it nothing is.
    await makeLeaseArea({ ...other, path: data, offset: MiB }, plain);
    assert.equal((await makeLeaseArea({ ...other, path: data }, anew)).area.name, 'b');
  });

  test('what is no place of an area', async () => {
    const path = newPath();
    const area = { lockspace: 'ls', name: 'a', path, offset: 0 };
    await assert.rejects(
      makeLeaseArea({ ...area, offset: 512 }, plain),
      refusal('USAGE', /no multiple of 1048576/),
    );
    await assert.rejects(
      makeLeaseArea({ ...area, name: 'a b' }, plain),
      refusal('USAGE', /cannot be the name/),
    );
    await assert.rejects(
      makeLeaseArea({ ...area, lockspace: 'x'.repeat(49) }, plain),
      refusal('USAGE', /has 49 bytes/),
    );
    await assert.rejects(makeLeaseArea({ ...area, path: folder }, plain), refusal('NOT_A_DISK', /neither/));
    await assert.rejects(
      makeLeaseArea({ ...area, path: join(path, 'x') }, plain),
      refusal('NO_SUCH_FILE', /x/),
    );
    await assert.rejects(readLeaseAreas({ path }), refusal('NO_SUCH_FILE', /there is no/));
    await assert.rejects(readLeaseAreas({ path: folder }), refusal('NOT_A_DISK', /neither/));
    assert.equal(statSync(path, { throwIfNoEntry: false }), undefined);
  });

  test('the hosts of a lockspace; it is not made anew under them', async () => {
    const [area] = await readLeaseAreas({ path, offset: 0 });
    const hosts = area?.hosts.map(({ hostId, generation, name }) => [hostId, generation, name]);
    assert.deepEqual(hosts, [[3, '1', 'alpha']]);
    const again = makeLeaseArea({ lockspace: 'ls', path, offset: 0 }, anew);
    await assert.rejects(again, refusal('IN_USE', /has hosts in it: alpha \(host id 3, generation 1/));
  });

  test('who has a lease, alone or shared; it is not made anew under them', async () => {
    const place = `ls:a:${path.replaceAll(':', '\\:')}:${MiB}`;
    for (const [mode, words] of [
      ['exclusive', place],
      ['shared', `${place}:SH`],
    ] as const) {
      let seen = '';
      const args = ['client', 'command', '-r', words, '-c', '/bin/sleep', '600'];
      holder = start('sanlock', args, { env: host.env });
      const hosts = async (): Promise<unknown> =>
        (await readLeaseAreas({ path, offset: MiB }))[0]?.hosts.map((one) => [
          one.hostId,
          one.mode,
          one.name,
        ]);
      await until(
        async () => {
          seen = JSON.stringify(await hosts());
          return seen === JSON.stringify([[3, mode, 'alpha']]);
        },
        () => `${mode}: ${seen}, ${holder?.stderr}`,
      );
      const again = makeLeaseArea({ lockspace: 'ls', name: 'a', path, offset: MiB }, anew);
      await assert.rejects(again, refusal('IN_USE', /is held by alpha \(host id 3/));
      holder.child.kill();
      await holder.ended;
      await until(async () => JSON.stringify(await hosts()) === '[]', 'it to be given back');
    }
    assert.equal(
      (await makeLeaseArea({ lockspace: 'ls', name: 'a', path, offset: MiB }, anew)).area.version,
      '0',
    );
  });

  test('of a host whose lockspace nobody watches here it is not known whether it lives', async () => {
    await host.stop();
    const again = makeLeaseArea({ lockspace: 'ls', path, offset: 0 }, anew);
    await assert.rejects(again, refusal('IN_USE', /alpha \(host id 3, generation 1, unknown\)/));
  });
});

test('how places are written', () => {
  const at = (text: string): unknown => parseLeaseArea(text);
  const here = (name: string): string => join(process.cwd(), name);
  assert.deepEqual(at('ls:n:/p'), { lockspace: 'ls', name: 'n', path: '/p', offset: 0 });
  for (const offset of ['1048576', '1M', '1MiB', '1024K']) {
    assert.deepEqual(at(`ls:n:/p:${offset}`), { lockspace: 'ls', name: 'n', path: '/p', offset: MiB });
  }
  assert.deepEqual(at('ls:n:/p:2G'), { lockspace: 'ls', name: 'n', path: '/p', offset: 2048 * MiB });
  assert.deepEqual(at('ls:n:/a:b:0'), { lockspace: 'ls', name: 'n', path: '/a:b', offset: 0 });
  assert.deepEqual(at('ls:n:/a\\:1M'), { lockspace: 'ls', name: 'n', path: '/a:1M', offset: 0 });
  assert.deepEqual(at('ls:/a\\:b:1M'), { lockspace: 'ls', path: '/a:b', offset: MiB });
  assert.deepEqual(at('ls:n:p'), { lockspace: 'ls', name: 'n', path: here('p'), offset: 0 });
  assert.deepEqual(at('ls:/p'), { lockspace: 'ls', path: '/p', offset: 0 });
  assert.deepEqual(at('ls:./p:1048576'), { lockspace: 'ls', path: here('p'), offset: MiB });
  for (const [wrong, fault] of [
    ['', /a name is missing/],
    ['ls', /a name is missing/],
    ['ls:', /a name is missing/],
    [':n:/p', /a name is missing/],
    ['ls::/p', /a name is missing/],
    [':/p', /a name is missing/],
    ['ls:n:', /no path/],
    ['ls:n', /no path/],
    ['ls:n:/p:1MB', /"1MB" is no offset/],
    ['ls:n:/p:-1', /"-1" is no offset/],
    ['ls:n:/a:b', /"b" is no offset/],
    ['ls:n:/p:0:SH', /shared/],
    ['ls:n:/p:99999999999999999999', /is no offset/],
    ['ls:n:/p:9000000T', /is no offset/],
  ] as const) {
    assert.throws(() => at(wrong), refusal('USAGE', fault), wrong);
  }
  assert.deepEqual(parseLeasePlace('/a:b'), { path: '/a:b' });
  assert.deepEqual(parseLeasePlace('/a:1M'), { path: '/a', offset: MiB });
  assert.deepEqual(parseLeasePlace('/a\\:1M'), { path: '/a:1M' });
  assert.deepEqual(parseLeasePlace('p'), { path: here('p') });
  assert.deepEqual(parseLeasePlace('ls:/p'), { lockspace: 'ls', path: '/p', offset: 0 });
});

describe('forms of areas', { skip: lacks('sanlock') }, () => {
  const form = (sectorBytes: number, mebibytes: number): { sectorBytes: number; bytes: number } => ({
    sectorBytes,
    bytes: mebibytes * MiB,
  });
  const formOf = ({ sectorBytes, bytes }: FoundLeaseArea): unknown => ({ sectorBytes, bytes });

  test('a lease is as its lockspace in the same file, in each form that sanlock has', async () => {
    for (const mebibytes of [1, 2, 4, 8]) {
      const path = newPath();
      const asked = form(4096, mebibytes);
      const first = await makeLeaseArea({ lockspace: 'ls', path, offset: 0 }, { ...plain, ...asked });
      assert.deepEqual(formOf(first.area), asked);
      const place = { lockspace: 'ls', name: 'a', path, offset: 8 * MiB };
      const lease = await makeLeaseArea(place, plain);
      assert.deepEqual(formOf(lease.area), asked);
      assert.equal(statSync(path).size, (8 + mebibytes) * MiB);
      assert.equal((await makeLeaseArea(place, plain)).made, false);
      assert.deepEqual(await readLeaseAreas({ path }), [first.area, lease.area]);
      await assert.rejects(
        makeLeaseArea({ ...place, offset: 16 * MiB }, { ...plain, sectorBytes: 512 }),
        refusal('USAGE', /takes no other lease in it/),
      );
    }
  });

  test('only forms that sanlock has, at multiples of their size, and never into one that is larger', async () => {
    const path = newPath();
    const lockspace = { lockspace: 'ls', path, offset: 0 };
    for (const asked of [form(512, 8), form(4096, 3), form(1024, 1)]) {
      await assert.rejects(
        makeLeaseArea(lockspace, { ...plain, ...asked }),
        refusal('USAGE', /has no areas of/),
      );
    }
    assert.deepEqual(
      formOf((await makeLeaseArea(lockspace, { ...plain, sectorBytes: 4096 })).area),
      form(4096, 8),
    );
    const within = { lockspace: 'ls', name: 'a', path, offset: 2 * MiB };
    await assert.rejects(makeLeaseArea(within, anew), refusal('USAGE', /no multiple of 8388608/));
    const other = { ...within, lockspace: 'other' };
    await assert.rejects(
      makeLeaseArea(other, anew),
      refusal('IN_USE', /lockspace ls at 0, which takes 8 MiB: 2097152 is within it/),
    );
    assert.deepEqual(await readLeaseAreas({ path, offset: 2 * MiB }), []);
    assert.equal((await readLeaseAreas({ path })).length, 1);
    await assert.rejects(
      makeLeaseArea(lockspace, { ...plain, ...form(512, 1) }),
      refusal('IN_USE', /with 8 MiB with sectors of 4096 bytes, not 1 MiB with sectors of 512 bytes/),
    );
  });

  test('an area does not begin before another one and reach into it', async () => {
    const path = newPath();
    const behind = await makeLeaseArea({ lockspace: 'ls', name: 'a', path, offset: 3 * MiB }, plain);
    const large = { lockspace: 'other', path, offset: 0 };
    await assert.rejects(
      makeLeaseArea(large, { ...plain, ...form(4096, 4) }),
      refusal('IN_USE', /has the lease ls:a at 3145728/),
    );
    assert.deepEqual(await readLeaseAreas({ path }), [behind.area]);
    await makeLeaseArea(large, { ...plain, ...form(4096, 2) });
    assert.equal((await readLeaseAreas({ path })).length, 2);
  });

  test('a path that sanlock would read as another one', async () => {
    const path = join(folder, 'odd:1M');
    assert.equal((await makeLeaseArea({ lockspace: 'ls', name: 'a', path, offset: 0 }, plain)).made, true);
    assert.equal((await readLeaseAreas({ path }))[0]?.name, 'a');
  });
});

/** `who` of the library: what is looked at, who is left out, and what is said of what cannot be seen. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { defineDriver, type Driver, type DriverFactory } from '../../src/driver/contract.js';
import nop from '../../src/drivers/nop/nop.js';
import { HoldfastError, isHoldfastError, openManager, who, type ResourceUse } from '../../src/index.js';
import type { Holder } from '../../src/vocabulary.js';
import { privateRuntime } from '../beds/private-folder.js';
import { domainXml } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { needs } from '../needs.js';
import { backingFormat, craftQcow2 } from '../plan/qcow2-image.js';

const folder = privateRuntime();

function disk(name: string, bytes: string | Buffer = name): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const none = { configuration: false } as const;

/** Another process that has a file open on descriptor 3, and whatever this one hands on. */
async function opener(path: string, flags: 'r' | 'r+'): Promise<number> {
  const fd = openSync(path, flags);
  const child = spawn('sleep', ['1000'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
  closeSync(fd);
  after(() => child.kill('SIGKILL'));
  await until(() => child.pid !== undefined, 'a process');
  return child.pid ?? 0;
}

const states = (uses: readonly ResourceUse[]): unknown =>
  uses.map(({ resource, role, state }) => [resource.label, role, state]);

test('free, in use, only shown', async () => {
  const [free, written, read] = [disk('free.img'), disk('written.img'), disk('read.img')];
  const writer = await opener(written, 'r+');
  const reader = await opener(read, 'r');
  const uses = await who({ disks: [free, written, read] }, none);
  assert.deepEqual(states(uses), [
    [free, 'disk', 'free'],
    [written, 'disk', 'in use'],
    [read, 'disk', 'in use'],
  ]);
  assert.deepEqual(
    uses.map(({ holders }) => holders.map(({ pid, refuses }) => [pid, refuses])),
    [[], [[writer, ['exclusive', 'shared']]], [[reader, []]]],
  );
});

test('this process is left out; what it started is not', async () => {
  await using manager = openManager(none);
  const path = disk('own.img');
  const hold = await manager.lock({ disks: [path], leases: ['space:own'] });
  const asked = { disks: [path], leases: ['space:own'] };
  // Where some process may not be seen, nothing vouches for a disk that this one has open itself.
  assert.deepEqual(
    (await manager.who(asked)).map(({ holders }) => holders),
    [[], []],
  );
  const child = hold.spawn('sleep', ['1000']);
  const [use, lease] = await manager.who(asked);
  child.kill('SIGKILL');
  assert.deepEqual(
    use?.holders.map(({ pid }) => pid),
    [child.pid],
  );
  assert.deepEqual(
    lease?.holders.map(({ pid }) => pid),
    [child.pid],
  );
  await hold.release();
});

test('a path that leads nowhere is an error; one that run would refuse is not', async () => {
  await assert.rejects(who({ disks: [join(folder, 'missing')] }, none), (error) =>
    isHoldfastError(error, 'NO_SUCH_FILE'),
  );
  const path = disk('twice.img');
  const xml = domainXml('twice', [{ path }, { path }]);
  const uses = await who({ xml }, none);
  assert.deepEqual(states(uses), [
    ['twice', 'domain', 'free'],
    [path, 'disk', 'free'],
  ]);
});

test('a lease that cannot be kept where it says is as wrong as for plan; one whose place is missing is free', async () => {
  const file = disk('no-lockspace');
  await assert.rejects(who({ leases: [`space:k:${file}`] }, none), (error) => {
    assert.ok(isHoldfastError(error, 'NOT_A_DISK'), String(error));
    assert.match(error.message, /no-lockspace is not a directory/);
    return true;
  });
  const [use] = await who({ leases: [`space:k:${join(folder, 'gone')}`] }, none);
  assert.equal(use?.state, 'free');
});

test('an empty path is no path', async () => {
  await assert.rejects(
    who({ disks: [{ path: '', mode: 'read' }] }, none),
    (error) => isHoldfastError(error, 'USAGE') && /the path of a disk is empty/.test(error.message),
  );
});

function overlayOf(name: string): Buffer {
  return craftQcow2({ name, extensions: [{ type: backingFormat, data: Buffer.from('raw') }] });
}

test('bases are looked at too; a chain that cannot be followed is a note', async () => {
  const base = disk('base.img');
  const top = disk('top.qcow2', overlayOf('base.img'));
  const writer = await opener(base, 'r+');
  const uses = await who({ disks: [{ path: top, format: 'qcow2' }] }, none);
  assert.deepEqual(states(uses), [
    [top, 'disk', 'free'],
    [base, 'base', 'in use'],
  ]);
  assert.equal(uses[1]?.holders[0]?.pid, writer);
  const lost = disk('lost.qcow2', overlayOf('gone.img'));
  const [only, ...more] = await who({ disks: [{ path: lost, format: 'qcow2' }] }, none);
  assert.deepEqual(more, []);
  assert.equal(only?.state, 'free');
  assert.match(only.notes.join('\n'), /gone\.img .* does not exist/);
});

test('a network disk: nobody can say it is free', async () => {
  const xml = domainXml('net', []).replace(
    '</devices>',
    `<disk type='network' device='disk'><source protocol='rbd' name='pool/image'><host name='mon1'/></source>
     <target dev='vda'/></disk></devices>`,
  );
  const [, use] = await who({ xml }, none);
  assert.equal(use?.state, 'not fully seen');
  assert.match(use.unseen ?? '', /network disk/);
});

/** A driver for everything, which knows what it is told to know. */
function knowing(holders: Driver['holders']): DriverFactory {
  return defineDriver({ ...nop.about, name: 'knowing' }, async (settings) => ({
    ...(await nop.start(settings)),
    holders,
  }));
}

test('a driver that knows of a network disk is asked, and believed', async () => {
  const far: Holder = { name: 'web9', host: 'host2', mode: 'exclusive', through: ['etcd'], evidence: [] };
  const xml = domainXml('far', []).replace(
    '</devices>',
    `<disk type='network' device='disk'><source protocol='nbd' name='a'><host name='h'/></source>
     <target dev='vda'/></disk></devices>`,
  );
  const driver = knowing((resource) => Promise.resolve(resource.storage === 'network' ? [far] : []));
  const uses = await who({ xml }, { ...none, driver });
  assert.equal(uses[1]?.state, 'in use');
  assert.deepEqual(
    uses[1].holders.map(({ name }) => name),
    ['web9'],
  );
});

test('an engine that does not answer leaves what it knows unseen', async () => {
  const path = disk('engine.img');
  const failing = knowing(() => Promise.reject(new Error('connection refused')));
  const [use] = await who({ disks: [path] }, { ...none, driver: failing });
  assert.equal(use?.state, 'not fully seen');
  assert.match(use.unseen ?? '', /driver knowing knows .*connection refused/);
  const dead = defineDriver({ ...nop.about, name: 'dead' }, () => {
    throw new HoldfastError('DRIVER_FAILED', 'no engine here');
  });
  const [same] = await who({ disks: [path] }, { ...none, driver: dead });
  assert.equal(same?.state, 'not fully seen');
  assert.match(same.unseen ?? '', /no engine here/);
  await assert.rejects(who({ disks: [path] }, { ...none, driver: 'no-such' }), (error) =>
    isHoldfastError(error, 'DRIVER_UNKNOWN'),
  );
});

test('records that cannot be read leave holds unseen', async (t) => {
  const runtime = process.env['HOLDFAST_RUNTIME_DIR'];
  t.after(() => (process.env['HOLDFAST_RUNTIME_DIR'] = runtime));
  // Not a directory: the same error for every user.
  const other = join(folder, 'broken-run');
  mkdirSync(other);
  writeFileSync(join(other, 'holds'), '');
  process.env['HOLDFAST_RUNTIME_DIR'] = other;
  const [use] = await who({ disks: [disk('records.img')] }, none);
  assert.equal(use?.state, 'not fully seen');
  assert.match(use.unseen ?? '', /the records of holds/);
});

test('a guest that runs is found by its uuid, without any disk or lock', async (t) => {
  if (!needs(t, 'qemu')) return;
  const { startQemu } = await import('../holders/actor.js');
  const uuid = '0b2f5a5e-7c8e-4c53-8d6c-0d1a52b3c4d5';
  const path = disk('diskless.img');
  await using qemu = await startQemu(path, ['-name', 'guest=web3', '-uuid', uuid]);
  const [domain] = await who({ xml: domainXml('web3', [], uuid) }, none);
  assert.equal(domain?.state, 'in use');
  assert.deepEqual(
    domain.holders.map(({ guest, pid, refuses }) => [guest, pid, refuses]),
    [['web3', qemu.pid, []]],
  );
});

test('a guest whose QEMU has its name, its disk and no uuid is not free', async (t) => {
  if (!needs(t, 'qemu')) return;
  const { startQemu } = await import('../holders/actor.js');
  const uuid = '0b2f5a5e-7c8e-4c53-8d6c-0d1a52b3c4d6';
  const path = disk('namesake.img');
  await using qemu = await startQemu(path, ['-name', 'guest=web4']);
  const states = async (name: string): Promise<unknown> => {
    const [domain] = await who({ xml: domainXml(name, [{ path, format: 'raw' }], uuid) }, none);
    return [domain?.state, domain?.holders.map(({ pid, through }) => [pid, through])];
  };
  assert.deepEqual(await states('web4'), [
    'in use',
    [[qemu.pid, ['a guest of this name runs: its disks are in use']]],
  ]);
  assert.deepEqual(await states('web5'), ['free', []]);
});

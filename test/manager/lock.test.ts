/** The manager's own part: planning again, refusals, waiting, endings. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defineDriver, type Driver, type DriverFactory } from '../../src/driver/contract.js';
import fcntl from '../../src/drivers/fcntl/fcntl.js';
import { HoldfastError, isHoldfastError, openManager, type Holder } from '../../src/index.js';
import { privateFolder, privateRuntime } from '../beds/private-folder.js';
import { needs } from '../needs.js';
import { backingFormat, craftQcow2 } from '../plan/qcow2-image.js';

const folder = privateRuntime();
const holds = join(folder, 'run', 'holds');

function disk(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, name);
  return path;
}

/** fcntl, with something that happens before it acquires. */
function disturbed(before: () => void, more: Partial<Driver> = {}): DriverFactory {
  return defineDriver(fcntl.about, async (settings) => {
    const driver = await fcntl.start(settings);
    return {
      ...driver,
      acquire: (owner, requests, options) => {
        before();
        return driver.acquire(owner, requests, options);
      },
      ...more,
    };
  });
}

test('a hold, its record, and its end', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('a.img');
  const hold = await manager.lock({ disks: [path], name: 'copy' }, { command: ['copy', 'this'] });
  const [listed] = await manager.holds();
  assert.equal(listed?.id, hold.id);
  assert.equal(listed.owner.name, 'copy');
  assert.deepEqual(listed.command, ['copy', 'this']);
  assert.deepEqual(
    listed.resources.map(({ label, mode }) => [label, mode]),
    [[path, 'exclusive']],
  );
  assert.deepEqual(
    listed.processes.map(({ pid }) => pid),
    [process.pid],
  );
  await hold.release();
  await hold.release();
  assert.equal(hold.state, 'released');
  assert.deepEqual(await manager.holds(), []);
  assert.deepEqual(readdirSync(holds), []);
});

test('a refusal names the hold that is in the way', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('b.img');
  const hold = await manager.lock({
    disks: [path],
    owner: { name: 'web1', uuid: '11111111-2222-4333-8444-555555555555' },
  });
  await assert.rejects(manager.lock({ disks: [`${path}:read`] }), (error) => {
    assert.ok(isHoldfastError(error, 'IN_USE'));
    assert.equal(error.resource, path);
    assert.equal(error.mode, 'read');
    assert.equal(error.holders.length, 1);
    const [holder] = error.holders;
    assert.equal(holder?.guest, 'web1');
    assert.equal(holder.pid, process.pid);
    assert.equal(holder.since, hold.since);
    assert.deepEqual(holder.through, ['Holdfast (fcntl)']);
    return true;
  });
  await hold.release();
});

/** Refuses some times for a lock that no process has, as that of one which is just ending. */
function heldByNobody(
  times: number,
  holder: Partial<Holder> = {},
): { driver: DriverFactory; asked: () => number } {
  let asked = 0;
  const driver = disturbed(() => {
    if (++asked > times) return;
    const held = { through: ['virtlockd or Holdfast'], evidence: ['a write lock on byte 0'], ...holder };
    throw new HoldfastError('IN_USE', 'it is in use', { resource: ending, holders: [held] });
  });
  return { driver, asked: () => asked };
}
const ending = disk('ending.img');

test('a lock whose process is just ending is asked for again, and is refused if it stays', async () => {
  const soon = heldByNobody(3);
  await using manager = openManager({ configuration: false, driver: soon.driver });
  await (await manager.lock({ disks: [ending] })).release();
  assert.equal(soon.asked(), 4);
  const never = heldByNobody(Infinity);
  await using other = openManager({ configuration: false, driver: never.driver });
  await assert.rejects(other.lock({ disks: [ending] }), (error) => isHoldfastError(error, 'IN_USE'));
  assert.ok(never.asked() < 20);
});

test('a lock whose process is known, or is another host’s, is refused at once', async () => {
  for (const holder of [{ pid: process.pid }, { host: 'elsewhere' }, { program: 'the kernel' }]) {
    const refusing = heldByNobody(1, holder);
    await using manager = openManager({ configuration: false, driver: refusing.driver });
    await assert.rejects(manager.lock({ disks: [ending] }), (error) => isHoldfastError(error, 'IN_USE'));
  }
});

test('an image that is swapped before it is locked is planned again', async () => {
  const path = disk('swapped.img');
  const other = disk('other.img');
  let swaps = 0;
  const driver = disturbed(() => {
    if (swaps++ === 0) renameSync(other, path);
  });
  await using manager = openManager({ configuration: false, driver });
  const hold = await manager.lock({ disks: [path] });
  assert.equal(swaps, 2);
  await using second = openManager({ configuration: false });
  await assert.rejects(second.lock({ disks: [path] }), (error) => isHoldfastError(error, 'IN_USE'));
  await hold.release();
});

test('a link that is turned after the lock is noticed, and what it led to is free again', async () => {
  const [one, two] = [disk('one.img'), disk('two.img')];
  const link = join(folder, 'link.img');
  symlinkSync(one, link);
  let acquired = 0;
  const driver = defineDriver(fcntl.about, async (settings) => {
    const inner = await fcntl.start(settings);
    return {
      ...inner,
      acquire: async (owner, requests, options) => {
        const grant = await inner.acquire(owner, requests, options);
        if (acquired++ === 0) {
          unlinkSync(link);
          symlinkSync(two, link);
        }
        return grant;
      },
    };
  });
  await using manager = openManager({ configuration: false, driver });
  const hold = await manager.lock({ disks: [link] });
  assert.equal(acquired, 2);
  await using second = openManager({ configuration: false });
  await (await second.lock({ disks: [one] })).release();
  await assert.rejects(second.lock({ disks: [two] }), (error) => isHoldfastError(error, 'IN_USE'));
  await hold.release();
});

test('an image that is swapped again and again ends in MOVED, with nothing held', async () => {
  const path = disk('restless.img');
  const driver = disturbed(() => {
    const next = disk('restless.next');
    renameSync(next, path);
  });
  await using manager = openManager({ configuration: false, driver });
  await assert.rejects(
    manager.lock({ disks: [path] }),
    (error) => isHoldfastError(error, 'MOVED') && error.retryable,
  );
  assert.deepEqual(await manager.holds(), []);
});

test('waiting: granted as soon as it is free, and told for whom meanwhile', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('wait.img');
  const first = await manager.lock({ disks: [path], name: 'first' });
  let told = 0;
  const waiting = manager.lock(
    { disks: [path] },
    {
      wait: true,
      onWait: ({ refusal }) => {
        told++;
        assert.equal(refusal.holders[0]?.pid, process.pid);
        void first.release();
      },
    },
  );
  await (await waiting).release();
  assert.ok(told >= 1);
});

test('waiting: a time that is over, and a caller that gives up', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('timeout.img');
  const first = await manager.lock({ disks: [path] });
  await assert.rejects(manager.lock({ disks: [path] }, { wait: 30 }), (error) => {
    assert.ok(isHoldfastError(error, 'TIMEOUT'));
    assert.equal(error.exitCode, 75);
    assert.equal(error.holders.length, 1);
    return true;
  });
  const abort = new AbortController();
  const waiting = manager.lock({ disks: [path] }, { wait: true, signal: abort.signal });
  abort.abort(new Error('changed my mind'));
  await assert.rejects(
    waiting,
    (error) => isHoldfastError(error, 'ABORTED') && /changed my mind/.test(error.message),
  );
  await first.release();
  await (await manager.lock({ disks: [path] })).release();
});

test('closing the manager releases its holds and ends what waits', async () => {
  const manager = openManager({ configuration: false });
  const path = disk('closing.img');
  await manager.lock({ disks: [path] });
  const waiting = manager.lock({ disks: [path] }, { wait: true });
  const ended = assert.rejects(waiting, (error) => isHoldfastError(error, 'ABORTED'));
  await new Promise((resolve) => setTimeout(resolve, 30));
  await manager.close();
  await manager.close();
  await ended;
  await using other = openManager({ configuration: false });
  await (await other.lock({ disks: [path] })).release();
  await assert.rejects(manager.lock({ disks: [path] }), (error) => isHoldfastError(error, 'ENDED'));
});

test('extend and shrink, and what is not in the hold', async () => {
  await using manager = openManager({ configuration: false });
  await using other = openManager({ configuration: false });
  const [a, b, c] = [disk('ea.img'), disk('eb.img'), disk('ec.img')];
  const held = (path: string) =>
    assert.rejects(other.lock({ disks: [path] }), (error) => isHoldfastError(error, 'IN_USE'));
  const free = async (path: string) => (await other.lock({ disks: [path] })).release();
  const hold = await manager.lock({ disks: [a] });
  await hold.extend({ disks: [b, a] });
  await held(b);
  const blocker = await other.lock({ disks: [c] });
  await assert.rejects(hold.extend({ disks: [c] }), (error) => isHoldfastError(error, 'IN_USE'));
  await blocker.release();
  await assert.rejects(hold.extend({ disks: [`${a}:read`] }), (error) =>
    isHoldfastError(error, 'SAME_DISK_TWICE'),
  );
  await assert.rejects(hold.shrink([c]), (error) => isHoldfastError(error, 'USAGE'));
  await hold.shrink([a]);
  await free(a);
  await held(b);
  assert.deepEqual(
    (await manager.holds())[0]?.resources.map(({ label }) => label),
    [b],
  );
  await hold.release();
  await free(b);
  await assert.rejects(hold.extend({ disks: [a] }), (error) => isHoldfastError(error, 'ENDED'));
});

test('an extension that waits ends with the hold', async () => {
  await using manager = openManager({ configuration: false });
  const [a, b] = [disk('xa.img'), disk('xb.img')];
  const blocker = await manager.lock({ disks: [b] });
  const hold = await manager.lock({ disks: [a] });
  const extending = hold.extend({ disks: [b] }, { wait: true });
  const ended = assert.rejects(extending, (error) => isHoldfastError(error, 'ABORTED'));
  await new Promise((resolve) => setTimeout(resolve, 30));
  await hold.release();
  await ended;
  await blocker.release();
  assert.deepEqual(readdirSync(holds), []);
});

test('a child keeps the locks after release, and a hand-over needs one that has them all', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('child.img');
  const hold = await manager.lock({ disks: [path] });
  await assert.rejects(hold.handOver(), (error) => isHoldfastError(error, 'USAGE'));
  const child = hold.spawn('sleep', ['60'], { stdio: 'ignore' });
  await hold.handOver();
  assert.equal(hold.state, 'handed over');
  const [listed] = await manager.holds();
  assert.deepEqual(listed?.processes, [{ pid: child.pid, program: 'sleep' }]);
  await assert.rejects(manager.lock({ disks: [path] }), (error) => {
    assert.ok(isHoldfastError(error, 'IN_USE'));
    assert.equal(error.holders[0]?.pid, child.pid);
    return true;
  });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  await (await manager.lock({ disks: [path] })).release();
});

test('a lost lock aborts the signal with the reason', async () => {
  await using manager = openManager({
    configuration: false,
    driver: 'memory',
    settings: { memory: { space: folder } },
  });
  await using breaker = openManager({ configuration: false });
  assert.ok(breaker);
  const path = disk('lost.img');
  const hold = await manager.lock({ disks: [path] });
  const lost = new Promise((resolve) => hold.signal.addEventListener('abort', resolve, { once: true }));
  const memory = await (await import('../../src/drivers/memory/memory.js')).default.start({ space: folder });
  const [request] = hold.requests;
  assert.ok(request !== undefined);
  await memory.breakLock?.(request.resource, 'a test says so');
  await lost;
  assert.ok(isHoldfastError(hold.signal.reason, 'LOST'));
  assert.throws(
    () => hold.spawn('true'),
    (error) => isHoldfastError(error, 'LOST'),
  );
  await hold.release();
});

test('what no driver can lock is refused, unless that is allowed, and then said', async () => {
  await using manager = openManager({ configuration: false });
  const xml = `<domain type='qemu'><name>net</name><uuid>11111111-2222-4333-8444-555555555555</uuid><devices>
    <disk type='network'><source protocol='rbd' name='pool/image'/><target dev='vda'/></disk></devices></domain>`;
  await assert.rejects(
    manager.lock(xml),
    (error) => isHoldfastError(error, 'CANNOT_LOCK') && /rbd/.test(error.message),
  );
  assert.deepEqual(await manager.holds(), []);
  const hold = await manager.lock(xml, { allowUnlocked: true });
  assert.match(hold.notes.join(), /NOT LOCKED: rbd/);
  await assert.rejects(manager.lock(xml, { allowUnlocked: true }), (error) => {
    assert.ok(isHoldfastError(error, 'IN_USE'));
    assert.equal(error.message, 'guest "net" is running already');
    return true;
  });
  await hold.release();
});

test('a writer without a lock is refused and named, unless that is allowed', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('written.img');
  const { spawn } = await import('node:child_process');
  const writer = spawn('sh', ['-c', `exec 3<>"$0"; echo ready; exec sleep 60`, path], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise((resolve) => writer.stdout.once('data', resolve));
  await assert.rejects(manager.lock({ disks: [path] }), (error) => {
    assert.ok(isHoldfastError(error, 'IN_USE'));
    assert.equal(error.holders[0]?.pid, writer.pid);
    assert.match(error.holders[0]?.through.join() ?? '', /no lock: open for writing/);
    return true;
  });
  const hold = await manager.lock({ disks: [path] }, { allowUnlocked: true });
  assert.match(hold.notes.join(), /IN USE ALL THE SAME/);
  await hold.release();
  const reader = await manager.lock({ disks: [`${path}:read`] });
  assert.match(reader.notes.join(), /what is read may not fit together/);
  await reader.release();
  const gone = new Promise((resolve) => writer.once('exit', resolve));
  writer.kill('SIGKILL');
  await gone;
});

const xmlOf = (disks: string): string =>
  `<domain type='qemu'><name>multi</name><uuid>21111111-2222-4333-8444-555555555555</uuid><devices>${disks}</devices></domain>`;
const xmlDisk = (path: string, target: string, more = '', format = 'raw'): string =>
  `<disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${path}'/><target dev='${target}'/>${more}</disk>`;

test('shrink leaves what another disk of the guest needs, and takes what nothing needs any more', async () => {
  await using manager = openManager({ configuration: false });
  await using other = openManager({ configuration: false });
  const isHeld = async (path: string): Promise<boolean> => {
    try {
      await (await other.lock({ disks: [path] })).release();
      return false;
    } catch (error) {
      assert.ok(isHoldfastError(error, 'IN_USE'));
      return true;
    }
  };
  const shareable = disk('shareable.img');
  const base = disk('shrink-base.img');
  const overlay = join(folder, 'shrink-overlay.qcow2');
  writeFileSync(
    overlay,
    craftQcow2({ name: base, extensions: [{ type: backingFormat, data: Buffer.from('raw') }] }),
  );
  const hold = await manager.lock(
    xmlOf(
      xmlDisk(shareable, 'vda', '<shareable/>') +
        xmlDisk(shareable, 'vdb', '<shareable/>') +
        xmlDisk(overlay, 'vdc', '', 'qcow2') +
        xmlDisk(base, 'vdd', '<readonly/>'),
    ),
  );
  await hold.shrink(['vdb']);
  assert.ok(await isHeld(shareable), 'vda has it still');
  await hold.shrink(['vda']);
  assert.ok(!(await isHeld(shareable)));
  await hold.shrink(['vdd']);
  assert.ok(await isHeld(base), 'the overlay stands on it');
  await assert.rejects(hold.shrink([base]), (error) => isHoldfastError(error, 'USAGE'));
  await hold.shrink([overlay]);
  assert.ok(!(await isHeld(base)), 'nothing stands on it any more');
  await hold.release();
});

test('extend refuses a disk of an XML that the hold has exclusively already', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('twice.img');
  const hold = await manager.lock(xmlOf(xmlDisk(path, 'vda')));
  await assert.rejects(hold.extend(xmlOf(xmlDisk(path, 'vdb'))), (error) =>
    isHoldfastError(error, 'SAME_DISK_TWICE'),
  );
  await hold.release();
});

test('a base that appears between the plan and the lock is locked as well', async () => {
  const base = disk('late-base.img');
  const image = join(folder, 'late.qcow2');
  writeFileSync(image, craftQcow2());
  let rounds = 0;
  const driver = disturbed(() => {
    if (rounds++ === 0)
      writeFileSync(
        image,
        craftQcow2({ name: base, extensions: [{ type: backingFormat, data: Buffer.from('raw') }] }),
      );
  });
  await using manager = openManager({ configuration: false, driver });
  const hold = await manager.lock(xmlOf(xmlDisk(image, 'vda', '', 'qcow2')));
  assert.deepEqual(
    hold.requests.map(({ resource }) => resource.label).toSorted(),
    [base, image, 'multi'].toSorted(),
  );
  await hold.release();
});

test('a hold that ends while it is extended leaves nothing, whoever comes first', async () => {
  await using manager = openManager({ configuration: false });
  await using other = openManager({ configuration: false });
  const [a, b] = [disk('race-a.img'), disk('race-b.img')];
  for (let round = 0; round < 60; round++) {
    const hold = await manager.lock({ disks: [a] });
    const extending = hold.extend({ disks: [b] }).then(
      () => 'extended',
      (error: unknown) => (isHoldfastError(error) ? error.code : String(error)),
    );
    for (let turn = 0; turn < round; turn++) await Promise.resolve();
    await hold.release();
    const outcome = await extending;
    assert.ok(['extended', 'ABORTED', 'ENDED'].includes(outcome), outcome);
    for (const path of [a, b]) await (await other.lock({ disks: [path] })).release();
  }
});

test('handing over while it is extended never loses the added disk', async () => {
  await using manager = openManager({ configuration: false });
  await using other = openManager({ configuration: false });
  const [a, b] = [disk('over-a.img'), disk('over-b.img')];
  for (let round = 0; round < 30; round++) {
    const hold = await manager.lock({ disks: [a] });
    const child = hold.spawn('sleep', ['60'], { stdio: 'ignore' });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    const extending = hold.extend({ disks: [b] }).then(
      () => true,
      () => false,
    );
    for (let turn = 0; turn < round * 2; turn++) await Promise.resolve();
    const handed = await hold.handOver().then(
      () => true,
      () => false,
    );
    if ((await extending) && handed) {
      await assert.rejects(other.lock({ disks: [b] }), (error) => isHoldfastError(error, 'IN_USE'));
    }
    child.kill('SIGKILL');
    await gone;
    await hold.release();
  }
});

test('a manager that closes while it locks holds nothing afterwards', async () => {
  await using other = openManager({ configuration: false });
  const path = disk('closing-race.img');
  for (let round = 0; round < 60; round++) {
    const manager = openManager({ configuration: false });
    const locking = manager
      .lock({ disks: [path] })
      .catch((error: unknown) => assert.ok(isHoldfastError(error)));
    for (let turn = 0; turn < round; turn++) await Promise.resolve();
    await manager.close();
    await locking;
    await (await other.lock({ disks: [path] })).release();
  }
});

test('a driver that fails while it gives a part back leaves a hold that does not claim that part', async () => {
  const failing = defineDriver({ ...fcntl.about, name: 'failing' }, (): Driver => ({
    acquire: async (_owner, requests) => ({ requests, descriptors: [], tokens: {} }),
    release: async () => undefined,
    holders: async () => [],
    shrink: () => Promise.reject(new Error('no')),
  }));
  await using manager = openManager({ configuration: false, driver: [failing, 'fcntl'] });
  const [a, b] = [disk('part-a.img'), disk('part-b.img')];
  const hold = await manager.lock({ disks: [a, b] });
  await assert.rejects(hold.shrink([b]), (error) => isHoldfastError(error, 'DRIVER_FAILED'));
  assert.deepEqual(
    hold.requests.map(({ resource }) => resource.label),
    [a],
  );
  await hold.release();
});

test('a hold whose disk was renamed or removed is listed still', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('renamed.img');
  const hold = await manager.lock({ disks: [path] });
  renameSync(path, `${path}.old`);
  assert.equal((await manager.holds())[0]?.resources[0]?.label, path);
  unlinkSync(`${path}.old`);
  assert.equal((await manager.holds()).length, 1);
  await hold.release();
  assert.deepEqual(await manager.holds(), []);
});

test('what dead holds left behind, records and lock files, is removed by who looks', async () => {
  const guest = xmlOf('');
  const script = `import { openManager } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)};
    await openManager({ configuration: false }).lock(${JSON.stringify(guest)}, { command: ['x'] });
    process.kill(process.pid, 'SIGKILL');`;
  await using manager = openManager({ configuration: false });
  const lockspace = join(folder, 'run', 'lockspace');
  for (let round = 0; round < 3; round++) {
    spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script]);
  }
  assert.equal(readdirSync(lockspace).length, 1);
  await manager.plan({ disks: [disk('any.img')] });
  assert.deepEqual(readdirSync(holds), []);
  assert.deepEqual(readdirSync(lockspace), []);
});

test('a record that cannot be written gives the locks back, and says where', async (t) => {
  if (!needs(t, 'root')) return;
  const small = join(folder, 'small');
  mkdirSync(small, { mode: 0o700 });
  const script = `import { openManager } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)};
    import { writeFileSync } from 'node:fs';
    process.env.HOLDFAST_RUNTIME_DIR = ${JSON.stringify(small)};
    try { writeFileSync(${JSON.stringify(join(small, 'full'))}, Buffer.alloc(1 << 20)); } catch {}
    const manager = openManager({ configuration: false });
    const error = await manager.lock({ disks: [${JSON.stringify(disk('record.img'))}] }).catch((e) => e);
    console.log(error.code, error.message);`;
  const tsx = ['--import', 'tsx', '--input-type=module', '-e', script];
  const mount = 'mount -t tmpfs -o size=16k,mode=700 holdfast "$0" && exec "$@"';
  const { stdout } = spawnSync('unshare', ['-m', 'sh', '-c', mount, small, process.execPath, ...tsx], {
    encoding: 'utf8',
  });
  assert.match(stdout, /^NO_RECORD the record of the hold cannot be written to .*small\/holds\/.*: ENOSPC/);
  await using manager = openManager({ configuration: false });
  await (await manager.lock({ disks: [join(folder, 'record.img')] })).release();
});

test('two guests in one hold: the disks of both, and neither runs meanwhile', async () => {
  await using manager = openManager({ configuration: false });
  const [a, b] = [disk('two-a.img'), disk('two-b.img')];
  const one = xmlOf(xmlDisk(a, 'vda'));
  const two = one.replace('multi', 'other').replace('21111111', '31111111').replace(a, b);
  const hold = await manager.lock({ xml: [one, two] });
  assert.equal(hold.owner.name, 'multi');
  assert.deepEqual(
    hold.requests.map(({ resource }) => resource.label).toSorted(),
    [a, b, 'multi', 'other'].toSorted(),
  );
  await assert.rejects(
    manager.lock(two),
    (error) => isHoldfastError(error, 'IN_USE') && /"other" is running/.test(error.message),
  );
  await hold.release();
});

test('arguments that types would refuse are usage errors, not waits for ever', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('args.img');
  const wrong = (call: () => Promise<unknown>): Promise<void> =>
    assert.rejects(call, (error) => isHoldfastError(error, 'USAGE'));
  for (const wait of [Number.NaN, -1, '30s' as unknown as number])
    await wrong(() => manager.lock({ disks: [path] }, { wait }));
  await wrong(() => manager.lock(undefined as unknown as string));
  await wrong(() => manager.lock({ disks: path as unknown as string[] }));
  await wrong(() => manager.lock({ disks: [{ path, mode: 'write' as 'read' }] }));
  await wrong(() =>
    openManager({ configuration: false, driver: ['fcntl', 'fcntl'] }).lock({ disks: [path] }),
  );
});

test('a lease is one lease, with its path and without', async () => {
  await using manager = openManager({ configuration: false });
  const kept = join(folder, 'leases');
  mkdirSync(kept);
  const hold = await manager.lock({ leases: [`space:key:${kept}`] });
  assert.ok(existsSync(join(kept, 'space', 'key')));
  await assert.rejects(manager.lock({ leases: ['space:key'] }), (error) => isHoldfastError(error, 'IN_USE'));
  await hold.release();
  await (await manager.lock({ leases: ['space:key'] })).release();
});

test('a lease with a path that the driver cannot lock in is bad input, found by plan and lock alike', async () => {
  await using manager = openManager({ configuration: false });
  const kept = join(privateFolder(), 'kept');
  mkdirSync(kept);
  const file = join(kept, 'file');
  writeFileSync(file, '');
  mkdirSync(join(kept, 'space', 'key'), { recursive: true });
  symlinkSync(file, join(kept, 'space', 'link'));
  const xml = `<domain type='qemu'><name>g</name><uuid>5f1c4b2a-7c35-4a0e-9a31-0d6b0f6e8a11</uuid><devices>
<lease><lockspace>file</lockspace><key>k</key><target path='${kept}'/></lease></devices></domain>`;
  for (const [input, code, text] of [
    [{ leases: [`space:k:${file}`] }, 'NOT_A_DISK', `${file} is not a directory`],
    [{ leases: [`space:key:${kept}`] }, 'NOT_A_DISK', `${kept}/space/key is not a regular file`],
    [{ leases: [`space:link:${kept}`] }, 'NOT_A_DISK', `${kept}/space/link is not a regular file`],
    [{ leases: [`space:k:${kept}/gone`] }, 'NO_SUCH_FILE', 'does not exist'],
    [{ xml }, 'NOT_A_DISK', `${file} is not a directory`],
  ] as const) {
    for (const options of [{}, { allowUnlocked: true }]) {
      for (const call of ['plan', 'lock'] as const) {
        await assert.rejects(manager[call](input, options), (error) => {
          assert.ok(isHoldfastError(error, code), String(error));
          assert.equal(error.exitCode, 66);
          assert.ok(error.message.includes(text), error.message);
          assert.equal(error.place?.line, 'xml' in input ? 2 : undefined);
          return true;
        });
      }
    }
  }
  assert.equal((await manager.holds()).length, 0);
});

test('a lease that is held without its path cannot be added with one: nothing would be locked there', async () => {
  await using manager = openManager({ configuration: false });
  const kept = privateFolder();
  const hold = await manager.lock({ leases: ['space:key'] });
  await assert.rejects(
    hold.extend({ leases: [`space:key:${kept}`] }),
    (error) => isHoldfastError(error, 'BAD_DATA') && /held already without/.test(error.message),
  );
  await hold.release();
  const other = await manager.lock({ leases: [`space:key:${kept}`] });
  await other.extend({ leases: ['space:key'] });
});

test('who reads or only looks at what someone writes is told so, by plan and lock alike', async () => {
  await using manager = openManager({ configuration: false });
  const path = disk('written.img');
  const told = async (mode: string): Promise<boolean[]> => {
    const { notes } = await manager.plan({ disks: [`${path}:${mode}`] });
    const hold = await manager.lock({ disks: [`${path}:${mode}`] });
    await hold.release();
    return [notes, hold.notes].map((all) =>
      all.some((note) => /what is read may not fit together/.test(note)),
    );
  };
  assert.deepEqual(
    [await told('read'), await told('peek')],
    [
      [false, false],
      [false, false],
    ],
  );
  const writer = openSync(path, 'r+');
  try {
    assert.deepEqual(
      [await told('read'), await told('peek')],
      [
        [true, true],
        [true, true],
      ],
    );
  } finally {
    closeSync(writer);
  }
});

test('records that cannot be read are not taken for none', async () => {
  const before = process.env['HOLDFAST_RUNTIME_DIR'];
  process.env['HOLDFAST_RUNTIME_DIR'] = disk('no folder');
  try {
    await using manager = openManager({ configuration: false });
    await assert.rejects(
      manager.holds(),
      (error) => isHoldfastError(error, 'NOT_PERMITTED') && /ENOTDIR/.test(error.message),
    );
  } finally {
    process.env['HOLDFAST_RUNTIME_DIR'] = before;
  }
});

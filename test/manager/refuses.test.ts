/** What a holder is said to refuse is what `plan` refuses beside it, and `lock` too. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { findHolders } from '../../src/holders/find-holders.js';
import { isHoldfastError, openManager } from '../../src/index.js';
import { makePlan } from '../../src/plan/make-plan.js';
import type { Mode } from '../../src/vocabulary.js';
import { commandFolder, endLeftProcesses, start } from '../beds/command.js';
import { end, qcow2Disk, rawDisk, startQemu, type QemuDrive } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { startVirtlockd } from '../beds/virtlockd.js';
import { startActor } from '../holders/actor.js';
import { attachLoop, attachPartitionedLoop } from '../holders/loop.js';
import { lacks, needs } from '../needs.js';

const folder = commandFolder();
afterEach(endLeftProcesses);

let disks = 0;
const disk = (): string => rawDisk(join(folder, `disk${++disks}.img`));
const asked = ['exclusive', 'shared', 'read'] as const;

/** What those who are found say that they refuse; undefined: one of them does not know. */
async function said(path: string): Promise<readonly Mode[]> {
  const { requests } = await makePlan({
    owner: { kind: 'command', name: 'test', uuid: '00000000-0000-4000-8000-000000000000' },
    disks: [
      { role: 'disk', label: path, source: { type: 'file', path }, mode: 'exclusive', optional: false },
    ],
    leases: [],
  });
  const resource = requests.find((request) => request.resource.label === path)?.resource ?? assert.fail();
  const { holders } = await findHolders(resource, { everyone: true });
  assert.ok(
    holders.every(({ refuses }) => refuses !== undefined),
    JSON.stringify(holders),
  );
  return asked.filter((mode) => holders.some(({ refuses }) => refuses?.includes(mode)));
}

/** What plan refuses; lock has to agree with it. */
async function refused(path: string): Promise<readonly Mode[]> {
  await using manager = openManager({ configuration: false });
  const found: Mode[] = [];
  for (const mode of asked) {
    const disks = [`${path}:${mode}`];
    const { granted } = await manager.plan({ disks });
    const locked = await manager.lock({ disks }).then(
      async (hold) => {
        await hold.release();
        return true;
      },
      (error: unknown) => {
        assert.ok(isHoldfastError(error, 'IN_USE'), String(error));
        return false;
      },
    );
    assert.equal(locked, granted, `plan and lock disagree on ${mode}`);
    if (!granted) found.push(mode);
  }
  return found;
}

async function agree(path: string, expected: readonly Mode[]): Promise<void> {
  assert.deepEqual(await refused(path), expected);
  assert.deepEqual(await said(path), expected);
}

const writers = ['exclusive', 'shared'] as const;

test('nobody', async () => {
  await agree(disk(), []);
});

describe('locks and descriptors', () => {
  const cases: Readonly<Record<string, readonly [code: string, refuses: readonly Mode[]]>> = {
    'a writer without a lock': ['', writers],
    'flock(2) by a reader': [`const r = fs.openSync(path, 'r'); fs.closeSync(fd); flock(r, 2);`, []],
    'a reader': [`fs.openSync(path, 'r'); fs.closeSync(fd);`, []],
    'a map that writes': [`mmap(null, 4096, 3, 1, fd, 0); fs.closeSync(fd);`, writers],
    'a map that reads': [
      `const r = fs.openSync(path, 'r'); fs.closeSync(fd); mmap(null, 4096, 1, 1, r, 0); fs.closeSync(r);`,
      [],
    ],
    'byte 0, write, as virtlockd takes it': [`lock(fd, POSIX, WRITE, 0, 1);`, asked],
    'byte 0, read, as virtlockd takes it': [`lock(fd, POSIX, READ, 0, 1);`, ['exclusive']],
    'Holdfast, shared': [`lock(fd, OFD, READ, 0, 1); lock(fd, OFD, READ, 2, 1);`, ['exclusive', 'read']],
    'Holdfast, read': [`lock(fd, OFD, READ, 0, 1); lock(fd, OFD, READ, 3, 1);`, ['exclusive', 'shared']],
    'Holdfast, part': [`lock(fd, OFD, READ, 0, 1); lock(fd, OFD, READ, 4, 1);`, asked],
    'the whole file': [`lock(fd, POSIX, READ, 0, 0);`, asked],
    'a byte that means nothing': [`lock(fd, OFD, WRITE, 5000, 1);`, writers],
  };
  for (const [name, [code, refuses]] of Object.entries(cases)) {
    test(name, async () => {
      const path = disk();
      await using _ = await startActor(
        `const path = ${JSON.stringify(path)}; const fd = fs.openSync(path, 'r+'); ${code}`,
      );
      await agree(path, refuses);
    });
  }
});

describe('QEMU', { skip: lacks('qemu', 'qemu-img') }, () => {
  const kinds: Readonly<Record<string, Partial<QemuDrive>>> = {
    'a writer': {},
    'a reader': { readonly: true },
    'a reader with -U': { readonly: true, forceShare: true },
    'one that shares': { shareRw: true },
  };
  for (const format of ['raw', 'qcow2'] as const) {
    for (const [name, kind] of Object.entries(kinds)) {
      test(`${name}, ${format}`, async () => {
        const path = format === 'raw' ? disk() : qcow2Disk(join(folder, `${++disks}.qcow2`));
        const qemu = await startQemu('web1', { path, format, ...kind });
        assert.deepEqual(await said(path), await refused(path));
        await end(qemu);
      });
    }
  }

  test('a base', async () => {
    const base = disk();
    const path = qcow2Disk(join(folder, 'overlay.qcow2'), { path: base, format: 'raw' });
    const qemu = await startQemu('web1', { path, format: 'qcow2' });
    await agree(base, writers);
    await end(qemu);
  });
});

test('virtlockd', async (t) => {
  if (!needs(t, 'root', 'unshare', 'virtlockd')) return;
  const virtlockd = await startVirtlockd(folder);
  const client = await virtlockd.connect();
  try {
    await client.register('web1', '7f9b1b0c-1d5e-4d0a-9b7a-0c2f4a1f6c11', virtlockd.pid);
    for (const [flags, refuses] of [
      [0, asked],
      [1, ['exclusive']],
    ] as const) {
      const path = disk();
      await client.acquire('', path, flags);
      await agree(path, refuses);
    }
  } finally {
    client.close();
    await virtlockd.stop();
  }
});

describe('the kernel', { skip: lacks('root', 'losetup', 'mkfs.ext4') }, () => {
  test('a loop device on a file; the loop device; its partitions', async (t) => {
    const path = disk();
    execFileSync('truncate', ['-s', '8M', path]);
    const device = attachPartitionedLoop(t, path);
    await agree(path, writers);
    await agree(device, []);
    const point = join(folder, 'mnt');
    mkdirSync(point);
    execFileSync('mkfs.ext4', ['-q', '-F', `${device}p2`]);
    execFileSync('mount', [`${device}p2`, point]);
    try {
      await agree(`${device}p2`, writers);
      await agree(device, writers);
      await agree(`${device}p1`, []);
    } finally {
      execFileSync('umount', [point]);
    }
  });

  test('a read-only loop device', async (t) => {
    const path = disk();
    execFileSync('truncate', ['-s', '8M', path]);
    const device = execFileSync('losetup', ['-r', '-f', '--show', path], { encoding: 'utf8' }).trim();
    t.after(() => execFileSync('losetup', ['-d', device]));
    await agree(path, []);
  });

  test('a second loop device on the same file', async (t) => {
    const path = disk();
    execFileSync('truncate', ['-s', '8M', path]);
    const [first] = [attachLoop(t, path), attachLoop(t, path)];
    await agree(first, writers);
  });

  test('who has the file behind, or the disk of a partition', async (t) => {
    const path = disk();
    execFileSync('truncate', ['-s', '8M', path]);
    const device = attachPartitionedLoop(t, path);
    for (const below of [path, device]) {
      await using _ = await startActor(
        `lock(fs.openSync(${JSON.stringify(below)}, 'r+'), OFD, WRITE, 0, 1);`,
      );
      await agree(`${device}p1`, asked);
    }
    const writer = start('dd', [`of=${path}`, 'conv=notrunc', 'status=none']);
    await until(async () => (await said(`${device}p1`)).length > 0, 'dd to open it');
    await agree(`${device}p1`, writers);
    await end(writer);
  });
});

test('a refusal names those who refuse, and not who uses it beside them', async () => {
  const path = disk();
  const json = JSON.stringify(path);
  await using flocked = await startActor(`flock(fs.openSync(${json}, 'r'), 2);`);
  await using shared = await startActor(`lock(fs.openSync(${json}, 'r+'), POSIX, READ, 0, 1);`);
  assert.ok(flocked.pid > 0);
  await using manager = openManager({ configuration: false });
  const { states } = await manager.plan({ disks: [path] });
  assert.deepEqual(
    states[0]?.holders.map(({ pid }) => pid),
    [shared.pid],
  );
  await assert.rejects(manager.lock({ disks: [path] }), (error) => {
    assert.ok(isHoldfastError(error, 'IN_USE'));
    assert.deepEqual(
      error.holders.map(({ pid }) => pid),
      [shared.pid],
    );
    return true;
  });
});

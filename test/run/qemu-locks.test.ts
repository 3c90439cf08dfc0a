/**
 * Holdfast decides as QEMU does: for every kind of QEMU that has an image open, what QEMU itself says to a second
 * QEMU, and what Holdfast says to one who asks for the mode of that second QEMU, are the same.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, before, describe, test } from 'node:test';
import { call, commandFolder, endLeftProcesses, holdfast, start, type Running } from '../beds/command.js';
import { lockedBytes, lockOn } from '../beds/observed-lock.js';
import { end, qcow2Disk, qemuCommand, rawDisk, startQemu, untilUp, type QemuDrive } from '../beds/qemu.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
afterEach(endLeftProcesses);

type Kind = Omit<QemuDrive, 'path' | 'format'>;

/** What a second QEMU would be, and the mode that stands for it. */
const comers: readonly { readonly mode: string; readonly kind: Kind }[] = [
  { mode: 'exclusive', kind: {} },
  { mode: 'shared', kind: { shareRw: true } },
  { mode: 'read', kind: { readonly: true } },
];

const holders: Readonly<Record<string, Kind>> = {
  'a writer': {},
  'a writer with share-rw': { shareRw: true },
  'a reader': { readonly: true },
  'a reader with force-share': { readonly: true, forceShare: true },
};

/** Whether QEMU opens a drive beside those who have it open. */
async function qemuAccepts(drive: QemuDrive): Promise<boolean> {
  const [program, ...args] = qemuCommand('second', drive);
  const qemu = start(program, args);
  const up = untilUp(qemu).then(
    () => true,
    () => false,
  );
  const accepted = await up;
  if (!accepted)
    assert.match((await qemu.ended).stderr, /Failed to get .*lock/, 'refused for no other reason');
  await end(qemu);
  return accepted;
}

/** What `plan` and `run` say; they have to agree. */
async function holdfastAccepts(path: string, mode: string): Promise<boolean> {
  const asked = ['--qemu-lock', 'check', '--disk', `${path}:${mode}`];
  const planned = await call(['plan', ...asked]);
  const ran = await call(['run', '-q', ...asked, '--', 'echo', 'ran']);
  assert.deepEqual([ran.status, ran.stdout], planned.status === 0 ? [0, 'ran\n'] : [75, ''], planned.stdout);
  return planned.status === 0;
}

async function compare(path: string, format: 'raw' | 'qcow2'): Promise<readonly boolean[]> {
  const decisions: boolean[] = [];
  for (const { mode, kind } of comers) {
    const accepted = await qemuAccepts({ path, format, ...kind });
    assert.equal(await holdfastAccepts(path, mode), accepted, `${mode}; QEMU accepts: ${accepted}`);
    decisions.push(accepted);
  }
  return decisions;
}

describe('QEMU and --qemu-lock', { skip: lacks('qemu', 'qemu-img') }, () => {
  for (const format of ['raw', 'qcow2'] as const) {
    for (const [name, kind] of Object.entries(holders)) {
      test(`check: beside ${name} of a ${format} disk, as QEMU would decide`, async () => {
        const path = (format === 'raw' ? rawDisk : qcow2Disk)(join(folder, `${format} ${name}`));
        const qemu = await startQemu('first', { path, format, ...kind });
        const decisions = await compare(path, format);
        if (kind.forceShare !== true) assert.ok(decisions.includes(false), 'it is in the way of some');
        await end(qemu);
        assert.deepEqual(await compare(path, format), [true, true, true]);
      });
    }
  }

  test('check: beside the QEMU of an overlay, as QEMU would decide of its base', async () => {
    const base = qcow2Disk(join(folder, 'base'));
    const path = qcow2Disk(join(folder, 'overlay'), { path: base, format: 'qcow2' });
    const qemu = await startQemu('first', { path, format: 'qcow2' });
    const [exclusive, shared, read] = await compare(base, 'qcow2');
    assert.deepEqual([exclusive, shared, read], [false, false, true]);
    await end(qemu);
  });

  describe('hold', () => {
    const path = join(folder, 'held.raw');
    const qemus: readonly Kind[] = [...Object.values(holders)];
    let running: Running | undefined;
    before(() => rawDisk(path));

    const hold = async (mode: string, qemuLock: string): Promise<void> => {
      const command = ['sh', '-c', 'echo started; exec sleep 1000'];
      running = start(holdfast, [
        'run',
        '--qemu-lock',
        qemuLock,
        '--disk',
        `${path}:${mode}`,
        '--',
        ...command,
      ]);
      await running.says('started');
    };

    for (const { mode, kind: own } of comers) {
      test(`a command that holds ${mode} keeps out the QEMUs that a QEMU in its place would`, async () => {
        // The reference: a qcow2 writer would hold the same bytes, a raw one less; readers are the same.
        const reference = await startQemu('reference', { path, format: 'raw', ...own });
        const wanted: boolean[] = [];
        for (const kind of qemus) wanted.push(await qemuAccepts({ path, format: 'raw', ...kind }));
        await end(reference);
        assert.ok(wanted.includes(false), 'the reference keeps somebody out');

        await hold(mode, 'hold');
        const got: boolean[] = [];
        for (const kind of qemus) got.push(await qemuAccepts({ path, format: 'raw', ...kind }));
        assert.deepEqual(got, wanted, Object.keys(holders).join(', '));
        if (running !== undefined) await end(running);
        assert.deepEqual(lockedBytes(path), []);
      });
    }

    test('a writer of data and a QEMU exclude each other', async () => {
      const dd = ['dd', 'if=/dev/zero', `of=${path}`, 'bs=4096', 'count=1', 'conv=notrunc'];
      const qemu = await startQemu('guest', { path, format: 'raw' });
      const refused = await call(['run', '--qemu-lock', 'hold', '--disk', path, '--', ...dd]);
      assert.equal(refused.status, 75);
      assert.match(refused.stderr, new RegExp(`guest "guest" .*pid ${qemu.pid}\\)`));
      await end(qemu);
      assert.equal((await call(['run', '-q', '--qemu-lock', 'hold', '--disk', path, '--', ...dd])).status, 0);
    });

    test('without hold no byte of QEMU is taken, so the QEMU of the command itself can start', async () => {
      await hold('exclusive', 'check');
      assert.deepEqual(lockedBytes(path), [0]);
      assert.equal(await qemuAccepts({ path, format: 'raw' }), true);
      if (running !== undefined) await end(running);
    });

    test("off: QEMU's bytes are not looked at, and whoever writes under them is not refused", async () => {
      const qemu = await startQemu('guest', { path, format: 'raw' });
      const off = await call(['run', '-q', '--qemu-lock', 'off', '--disk', path, '--', 'true']);
      assert.equal(off.status, 0, off.stderr);
      await end(qemu);
      assert.equal(lockOn(path), 'none');
    });
  });
});

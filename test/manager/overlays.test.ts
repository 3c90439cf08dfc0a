/** An image that a QEMU reads as the base of an overlay: what is said of it, with real QEMUs. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { overlayWords } from '../../src/manager/overlays.js';
import { openManager } from '../../src/index.js';
import { inodeOf } from '../../src/system/inode.js';
import type { Resource } from '../../src/vocabulary.js';
import { commandFolder, endLeftProcesses, start } from '../beds/command.js';
import { end, qcow2Disk, rawDisk, startQemu } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { startActor } from '../holders/actor.js';
import { lacks, needs } from '../needs.js';

const folder = commandFolder();
afterEach(endLeftProcesses);

function resource(path: string): Resource {
  const inode = inodeOf(statSync(path, { bigint: true }));
  return { kind: 'disk', identity: path, label: path, storage: 'file', scope: 'host', path, inode };
}

describe('overlays', { skip: lacks('qemu', 'qemu-img') }, () => {
  test('of a chain with names that are relative, and one image that is no qcow2 by its header’s word', async () => {
    const base = rawDisk(join(folder, 'base.img'));
    const middle = qcow2Disk(join(folder, 'middle.qcow2'), { path: 'base.img', format: 'raw' });
    const top = qcow2Disk(join(folder, 'a top.qcow2'), { path: middle, format: 'qcow2' });
    const other = rawDisk(join(folder, 'other.img'));
    const qemu = await startQemu('web1', { path: top, format: 'qcow2' }, { path: other, format: 'raw' });
    for (const below of [base, middle])
      assert.deepEqual(overlayWords(qemu.pid, resource(below)), [`uses it as the base of ${top}`]);
    assert.deepEqual(overlayWords(qemu.pid, resource(top)), []);
    assert.deepEqual(overlayWords(qemu.pid, resource(other)), []);
    // The same in a refusal, with the guest.
    await using manager = openManager({ configuration: false });
    const { states } = await manager.plan({ disks: [base] });
    const [holder] = states[0]?.holders ?? [];
    assert.equal(holder?.guest, 'web1');
    assert.deepEqual(holder.does, [
      'reads',
      'forbids other writers',
      'forbids others to resize',
      `uses it as the base of ${top}`,
    ]);
    await end(qemu);
    assert.deepEqual(overlayWords(qemu.pid, resource(base)), []);
  });

  test('a qcow2 header in a disk that QEMU was told is raw says nothing', async () => {
    const base = rawDisk(join(folder, 'untouched.img'));
    const liar = qcow2Disk(join(folder, 'liar.img'), { path: base, format: 'raw' });
    const qemu = await startQemu(
      'web2',
      { path: liar, format: 'raw' },
      { path: base, format: 'raw', readonly: true },
    );
    assert.deepEqual(overlayWords(qemu.pid, resource(base)), []);
  });

  test('qemu-nbd with an overlay', { skip: lacks('qemu-nbd') }, async () => {
    const base = rawDisk(join(folder, 'nbd-base.img'));
    const top = qcow2Disk(join(folder, 'nbd-top.qcow2'), { path: base, format: 'raw' });
    const pidFile = join(folder, 'nbd.pid');
    const socket = join(folder, 'nbd.sock');
    execFileSync('qemu-nbd', ['--fork', '-f', 'qcow2', '-k', socket, `--pid-file=${pidFile}`, top]);
    const pid = Number(execFileSync('cat', [pidFile], { encoding: 'utf8' }));
    assert.deepEqual(overlayWords(pid, resource(base)), [`uses it as the base of ${top}`]);
  });
});

/** Prints what is said of a file that a process uses. */
const say = `const [, pid, dev, ino] = process.argv;
const { overlayWords } = await import(${JSON.stringify(new URL('../../src/manager/overlays.ts', import.meta.url).href)});
console.log(JSON.stringify(overlayWords(Number(pid), { inode: { dev, ino } })));`;

test('another disk of that process is on a server that does not answer: nobody waits for it', async (t) => {
  if (!needs(t, 'root', 'qemu-img', 'qemu-storage-daemon')) return;
  const base = rawDisk(join(folder, 'live-base.img'));
  const top = qcow2Disk(join(folder, 'live-top.qcow2'), { path: base, format: 'raw' });
  const dead = join(folder, 'dead.img');
  writeFileSync(dead, '');
  const far = rawDisk(join(folder, 'far.img'));
  // A file system of its own, of one file; behind a symlink too.
  const server = start('qemu-storage-daemon', [
    '--blockdev',
    `driver=file,node-name=far,filename=${far}`,
    '--export',
    `type=fuse,id=far,node-name=far,mountpoint=${dead},writable=on`,
  ]);
  await until(() => statSync(dead).size === statSync(far).size, 'the file system');
  const link = join(folder, 'dead-link.img');
  symlinkSync(dead, link);
  const drives = [link, dead, top].flatMap((path) => ['-drive', `file=${path},format=qcow2`]);
  const opens = [base, top, dead].map((path) => `fs.openSync(${JSON.stringify(path)}, 'r');`);
  await using user = await startActor(opens.join(''), drives);
  const { dev, ino } = inodeOf(statSync(base, { bigint: true }));
  process.kill(server.pid, 'SIGSTOP');
  try {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', say, String(user.pid), dev, ino],
      { encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL' },
    );
    assert.notEqual(stdout, '', stderr);
    assert.deepEqual(JSON.parse(stdout), [`uses it as the base of ${top}`]);
  } finally {
    process.kill(server.pid, 'SIGCONT');
    user.child.kill('SIGKILL');
    process.kill(server.pid, 'SIGTERM');
    await server.ended;
  }
});

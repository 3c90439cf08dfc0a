/** A real QEMU under a lock that is lost: its guest is paused from within first, and goes on so. */
import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { commandFolder, endLeftProcesses } from '../beds/command.js';
import { guardedRuns, isStopped, processesOf } from '../beds/guarded-run.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const runs = guardedRuns(folder, disk);
afterEach(() => {
  endLeftProcesses();
  runs.clear();
});

test('QMP `stop`, then SIGSTOP; and both taken back', { skip: lacks('qemu') }, async () => {
  const [told, watched] = [join(folder, 'told.sock'), join(folder, 'watched.sock')];
  const qemu = ['qemu-system-x86_64', '-nodefaults', '-display', 'none', '-accel', 'tcg', '-m', '16'];
  const monitors = [told, watched].flatMap((path) => ['-qmp', `unix:${path},server=on,wait=off`]);
  const drive = ['-drive', `file=${disk},format=raw,if=none,id=d`, '-device', 'virtio-blk-pci,drive=d'];
  const running = runs.run(['--supervise', '--on-lost', 'pause'], [...qemu, ...monitors, ...drive]);
  let said = '';
  await until(
    () =>
      new Promise((resolve) => {
        const socket = createConnection(watched);
        socket.once('error', () => resolve(false));
        socket.once('connect', () => resolve(true));
        socket.on('data', (bytes: Buffer) => (said += bytes.toString()));
        socket.write('{"execute":"qmp_capabilities"}\n');
      }),
    'its second monitor',
  );
  await until(() => said.includes('"return"'), 'its answer');
  const { command } = await processesOf(running, 1);
  runs.stopRenewals(true);
  await until(() => isStopped(command), 'the process to be stopped');
  runs.stopRenewals(false);
  await until(() => said.includes('"event": "RESUME"'), 'the guest to go on');
  // It may have been stopped itself before it had told this of the guest.
  assert.match(said, /"event": "STOP"[^]*"event": "RESUME"/);
  assert.equal(isStopped(command), false);
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 0);
});

/** The main job: a guest runs under its locks, and the second one is refused by name. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { call, commandFolder, endLeftProcesses, holdfast, start, type Running } from '../beds/command.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { domainXml, end, qcow2Disk, qemuCommand, rawDisk, startQemu, untilUp } from '../beds/qemu.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
afterEach(endLeftProcesses);

function domainFile(name: string, path: string, format: 'raw' | 'qcow2', uuid?: string): string {
  const file = join(folder, `${name}.xml`);
  writeFileSync(file, domainXml(name, [{ path, format }], uuid));
  return file;
}

interface RefusedHolder {
  readonly guest?: string;
  readonly program?: string;
  readonly pid?: number;
  readonly host?: string;
  readonly through: readonly string[];
}

interface RefusalData {
  readonly code: string;
  readonly resource: string;
  readonly mode: string;
  readonly holders: readonly RefusedHolder[];
}

describe('two QEMUs on one image', { skip: lacks('qemu', 'qemu-img') }, () => {
  const disk = join(folder, 'web1.qcow2');
  const uuid = randomUUID();
  const runGuest = async (): Promise<Running> => {
    const xml = domainFile('web1', disk, 'qcow2', uuid);
    const command = qemuCommand('web1', { path: disk, format: 'qcow2' });
    const qemu = start(holdfast, ['run', '--xml', xml, '--', ...command]);
    await untilUp(qemu);
    return qemu;
  };

  test('through run: the second is refused, and told which guest and which process', async () => {
    qcow2Disk(disk);
    const first = await runGuest();
    const xml = domainFile('web2', disk, 'qcow2');
    const command = qemuCommand('web2', { path: disk, format: 'qcow2' });

    const text = await call(['run', '--xml', xml, '--', ...command]);
    assert.equal(text.status, 75);
    assert.equal(text.stdout, '', 'the second QEMU was not started');
    const [headline, heldBy, through, advice, ...rest] = text.stderr.trimEnd().split('\n');
    assert.equal(headline, `holdfast: ${disk} is in use (you asked for it exclusively)`);
    assert.match(
      heldBy ?? '',
      new RegExp(
        `^ {2}held by {3}guest "web1" \\(qemu-system-x86_64, pid ${first.pid}\\) on this host since \\d\\d:\\d\\d:\\d\\d$`,
      ),
    );
    assert.equal(through, "  through   Holdfast (fcntl), and QEMU's own image lock");
    assert.equal(
      advice,
      `  try       stop it (pid ${first.pid}), or wait for it: holdfast run --wait=5m ...`,
    );
    assert.deepEqual(rest, []);

    const data = await call(['run', '--json', '--xml', xml, '--', ...command]);
    assert.equal(data.status, 75);
    assert.match(data.stderr, /^[^\n]+\n$/, 'one line');
    const refusal = JSON.parse(data.stderr) as RefusalData;
    assert.deepEqual([refusal.code, refusal.resource, refusal.mode], ['IN_USE', disk, 'exclusive']);
    assert.deepEqual(
      refusal.holders.map(({ guest, program, pid, host }) => ({ guest, program, pid, host })),
      [{ guest: 'web1', program: 'qemu-system-x86_64', pid: first.pid, host: 'this host' }],
    );

    const other = await call(['run', '-E', '9', '--xml', xml, '--', ...command]);
    assert.equal(other.status, 9);

    await end(first);
    const second = start(holdfast, ['run', '--xml', xml, '--', ...command]);
    await untilUp(second);
    await end(second);
    await untilFree(disk);
  });

  test('the same guest does not run twice, though its second XML names another disk', async () => {
    qcow2Disk(disk);
    const first = await runGuest();
    const other = rawDisk(join(folder, 'other.raw'));
    const xml = domainFile('renamed', other, 'raw', uuid);
    const refused = await call(['run', '--xml', xml, '--', 'true']);
    assert.equal(refused.status, 75);
    assert.match(refused.stderr, new RegExp(`guest "web1" \\(qemu-system-x86_64, pid ${first.pid}\\)`));
    assert.equal(lockOn(other), 'none', 'all or nothing');
    await end(first);
  });

  test('started without Holdfast: it excludes run, and is named', async () => {
    const raw = rawDisk(join(folder, 'alone.raw'));
    const qemu = await startQemu('alone,debug-threads=on', { path: raw, format: 'raw' });
    for (const mode of ['exclusive', 'shared', 'read']) {
      const { status, stdout, stderr } = await call(['run', '--disk', `${raw}:${mode}`, '--', 'echo', 'ran']);
      assert.deepEqual([mode, status, stdout], [mode, 75, '']);
      const holder = `guest "alone" \\(qemu-system-x86_64, pid ${qemu.pid}\\) on this host since`;
      assert.match(stderr, new RegExp(`^ {2}held by {3}${holder}`, 'm'));
      assert.match(stderr, /^ {2}through {3}QEMU's own image lock$/m);
    }
    await end(qemu);
    assert.equal((await call(['run', '-q', '--disk', raw, '--', 'echo', 'ran'])).stdout, 'ran\n');
  });

  test('nobody writes a base image under the overlay of a running guest', async () => {
    const base = qcow2Disk(join(folder, 'base.qcow2'));
    qcow2Disk(disk, { path: base, format: 'qcow2' });
    const first = await runGuest();
    assert.equal((await call(['run', '--disk', base, '--', 'true'])).status, 75);
    assert.equal((await call(['run', '--disk', `${base}:read`, '--', 'true'])).status, 0);
    const neighbour = qcow2Disk(join(folder, 'neighbour.qcow2'), { path: base, format: 'qcow2' });
    const xml = domainFile('neighbour', neighbour, 'qcow2');
    const second = start(holdfast, [
      ...['run', '--xml', xml, '--'],
      ...qemuCommand('neighbour', { path: neighbour, format: 'qcow2' }),
    ]);
    await untilUp(second);
    await end(first);
    assert.equal((await call(['run', '--disk', base, '--', 'true'])).status, 75);
    await end(second);
  });
});

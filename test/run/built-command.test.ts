/** What only the built command can get wrong: it is compiled code in one file, and not the sources. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CheckedPlan } from '../../src/index.js';
import { call, commandFolder, holdfast, start } from '../beds/command.js';
import { needs } from '../needs.js';

const folder = commandFolder();

test('--domain asks libvirt', async (t) => {
  if (!needs(t, 'virsh')) return;
  const image = join(folder, 'asked.img');
  writeFileSync(image, '');
  const pool = join(folder, 'test.xml');
  writeFileSync(
    pool,
    `<node><domain type='test'><name>asked</name><memory>1024</memory><os><type>hvm</type></os><devices>
      <disk type='file' device='disk'><source file='${image}'/><target dev='vda'/></disk></devices></domain></node>`,
  );
  const { status, stdout, stderr } = await call([
    'plan',
    '--json',
    '--domain',
    'asked',
    '--connect',
    `test://${pool}`,
  ]);
  assert.deepEqual([status, stderr], [0, '']);
  const plan = JSON.parse(stdout) as CheckedPlan;
  assert.deepEqual(
    plan.items.map(({ label }) => label),
    ['asked', image],
  );
});

test('a copy of the command alone says what it lacks; a symlink works', async () => {
  const alone = join(folder, 'alone');
  mkdirSync(alone);
  copyFileSync(holdfast, join(alone, 'holdfast'));
  const copied = await start(join(alone, 'holdfast'), ['version']).ended;
  assert.equal(copied.status, 127);
  assert.match(
    copied.stderr,
    /^holdfast: .*program\.js cannot be read \(ENOENT\): .*installed with\n {2}try .*\n$/,
  );
  symlinkSync(holdfast, join(alone, 'link'));
  assert.equal((await start(join(alone, 'link'), ['version']).ended).status, 0);
});

test('the chain of an image that is not qcow2 is asked of qemu-img', async (t) => {
  if (!needs(t, 'qemu-img')) return;
  const [base, top] = [join(folder, 'base.vmdk'), join(folder, 'top.vmdk')];
  execFileSync('qemu-img', ['create', '-q', '-f', 'vmdk', base, '1M']);
  execFileSync('qemu-img', ['create', '-q', '-f', 'vmdk', '-b', base, '-F', 'vmdk', top]);
  const { status, stdout, stderr } = await call(['plan', '--json', '--disk', `${top}:format=vmdk`]);
  assert.deepEqual([status, stderr], [0, '']);
  const plan = JSON.parse(stdout) as CheckedPlan;
  assert.deepEqual(
    plan.items.map(({ label, mode }) => [label, mode]),
    [
      [top, 'exclusive'],
      [base, 'read'],
    ],
  );
});

test('a plan says no where a run may not write', async (t) => {
  if (!needs(t, 'root')) return;
  const image = join(folder, 'of-root.img');
  writeFileSync(image, '', { mode: 0o644 });
  execFileSync('chmod', ['755', folder]);
  const own = join(folder, 'own');
  mkdirSync(own, { mode: 0o700 });
  chownSync(own, 65534, 65534);
  const asNobody = (args: readonly string[]): ReturnType<typeof call> =>
    start(
      'setpriv',
      ['--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath, holdfast, ...args],
      {
        env: { HOLDFAST_RUNTIME_DIR: own },
      },
    ).ended;
  const run = await asNobody(['run', '--disk', image, '--', 'true']);
  assert.equal(run.status, 77, run.stderr);
  const plan = await asNobody(['plan', '--json', '--disk', image]);
  const checked = JSON.parse(plan.stdout) as CheckedPlan;
  assert.deepEqual(
    checked.states.map(({ free, code }) => [free, code]),
    [[false, 'NOT_PERMITTED']],
  );
  assert.equal(plan.status, 77);
});

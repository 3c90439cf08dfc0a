import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { lockFinding } from '../../src/doctor/check-lock-support.js';
import { tryLocksAcross, tryLocksIn } from '../../src/doctor/lock-trial.js';
import { privateFolder } from '../beds/private-folder.js';
import { needs } from '../needs.js';

const folder = privateFolder();
const inside = (name: string): string => {
  mkdirSync(join(folder, name));
  return join(folder, name);
};

test('locks work here, and nothing is left behind', () => {
  const here = inside('here');
  const trial = tryLocksIn(here);
  assert.equal(trial.outcome, 'works');
  assert.match(trial.evidence, /refused$/);
  assert.deepEqual(readdirSync(here), []);
  assert.equal(lockFinding(here, trial).id, 'locks-work');
});

test('what is no folder is no folder without locks', () => {
  assert.throws(() => tryLocksIn(join(folder, 'gone')), { code: 'ENOENT' });
});

test('two ways to one folder see each other’s locks; two folders are no two ways', () => {
  const one = inside('one');
  symlinkSync(one, join(folder, 'link'));
  assert.equal(tryLocksAcross(one, join(folder, 'link'))?.outcome, 'works');
  assert.equal(tryLocksAcross(one, inside('other')), undefined);
  assert.deepEqual(readdirSync(one), []);
});

test('an overlay has locks of its own: one on the file below is not seen through it', (t) => {
  if (!needs(t, 'root', 'unshare')) return;
  const [lower, merged, work] = [inside('lower'), inside('merged'), inside('work')];
  const module = fileURLToPath(new URL('../../src/doctor/lock-trial.ts', import.meta.url));
  const script = `import { tryLocksAcross, tryLocksIn } from ${JSON.stringify(module)};
    console.log(JSON.stringify([tryLocksAcross(${JSON.stringify(lower)}, ${JSON.stringify(merged)}),
      tryLocksIn(${JSON.stringify(merged)})]));`;
  const mount = `mount -t tmpfs none ${work} && mkdir ${work}/u ${work}/w && mount -t overlay none -o lowerdir=${lower},upperdir=${work}/u,workdir=${work}/w ${merged} && exec "$@"`;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', script];
  const { stdout, stderr } = spawnSync(
    'unshare',
    ['-m', '--propagation', 'private', 'sh', '-c', mount, 'sh', ...node],
    { encoding: 'utf8' },
  );
  assert.notEqual(stdout, '', stderr);
  const [across, within] = JSON.parse(stdout) as { outcome: string; evidence: string }[];
  assert.deepEqual([across?.outcome, within?.outcome], ['broken', 'works']);
  assert.match(across?.evidence ?? '', /granted$/);
  assert.deepEqual(readdirSync(lower), []);
});

test('what the trial says becomes a finding', () => {
  assert.equal(lockFinding('x', { outcome: 'broken', evidence: 'ENOLCK' }).id, 'locks-missing');
  const asked = lockFinding('x', { outcome: 'untried', asked: true, readOnly: false, evidence: 'EACCES' });
  const unasked = lockFinding('x', { outcome: 'untried', asked: false, readOnly: true, evidence: 'EACCES' });
  assert.deepEqual([asked.id, unasked.id], ['locks-untried', 'locks-untried']);
  assert.match(asked.what, /the kernel answers/);
  assert.doesNotMatch(unasked.what, /the kernel answers/);
});

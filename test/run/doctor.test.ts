/** `holdfast doctor` as a user has it: what it prints, how it ends, what it leaves alone. */
import assert from 'node:assert/strict';
import { linkSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { call, commandFolder } from '../beds/command.js';
import { end, rawDisk, startQemu } from '../beds/qemu.js';
import type { Finding } from '../../src/index.js';
import { needs } from '../needs.js';

const folder = commandFolder();

test('a file with two names: status 1, and what to do', async () => {
  const images = join(folder, 'images');
  mkdirSync(images);
  const [a, b] = [rawDisk(join(images, 'a.img')), join(images, 'b.img')];
  linkSync(a, b);
  const { status, stdout, stderr } = await call(['doctor', a, b]);
  assert.equal(status, 1, stderr);
  assert.equal(stderr, '');
  assert.match(
    stdout,
    /^warning: .*a\.img and .*b\.img: they are one disk.* \[same-disk\]\n {2}because .*\n {2}try /m,
  );
  assert.match(stdout, /\n\d+ problems?, \d+ warnings?, \d+ notes?; \d+ things are as they should be\.\n$/);
  assert.doesNotMatch(stdout, /^fine:/m);
  assert.deepEqual(readdirSync(images).toSorted(), ['a.img', 'b.img']);
});

test('a relative path, --verbose and --json; a status that fits what was found', async () => {
  rawDisk(join(folder, 'c.img'));
  const verbose = await call(['doctor', '-v', 'c.img'], { cwd: folder });
  assert.match(verbose.stdout, /^fine: c\.img: locks work here \[locks-work\]\n {2}evidence .*refused$/m);
  const json = await call(['doctor', 'c.img', '--json'], { cwd: folder });
  const findings = JSON.parse(json.stdout) as Finding[];
  assert.ok(findings.some(({ id, subject }) => id === 'locks-work' && subject === 'c.img'));
  const bad = findings.some(({ level }) => level === 'problem' || level === 'warning');
  assert.equal(json.status, bad ? 1 : 0);
  for (const { id, what, why } of findings) assert.ok(id !== undefined && what !== '' && why !== '');
});

test('usage 64, a path that is not there 66; a wrong configuration is a finding', async () => {
  assert.equal((await call(['doctor', '--disk', 'x'])).status, 64);
  const gone = await call(['doctor', join(folder, 'gone.img')]);
  assert.equal(gone.status, 66);
  assert.match(gone.stderr, /gone\.img \(disk\) does not exist/);
  assert.equal((await call(['doctor', ''])).status, 64);
  const there = rawDisk(join(folder, 'there.img'));
  const both = await call(['doctor', '-v', join(folder, 'gone.img'), there]);
  assert.equal(both.status, 66);
  assert.match(both.stdout, /^problem: .*gone\.img \(disk\) does not exist.* \[disk-missing\]$/m);
  assert.match(both.stdout, /^fine: .*there\.img: locks work here/m);
  const file = join(folder, 'wrong.toml');
  writeFileSync(file, 'driver = 3\n');
  const wrong = await call(['doctor', '--config', file]);
  assert.equal(wrong.status, 1);
  assert.match(wrong.stdout, /^problem: .*wrong\.toml:1:\d+.* \[configuration-wrong\]$/m);
});

test('a QEMU with locking=off is named, with or without a path', async (t) => {
  if (!needs(t, 'qemu')) return;
  const disk = rawDisk(join(folder, 'bare.img'));
  const qemu = await startQemu('web7', { path: `${disk},file.locking=off`, format: 'raw' });
  try {
    const { status, stdout } = await call(['doctor']);
    assert.equal(status, 1);
    assert.match(
      stdout,
      new RegExp(`^problem: ${disk}: guest "web7" \\(pid ${qemu.pid}\\) has it open`, 'm'),
    );
    const named = await call(['doctor', disk]);
    assert.equal(named.stdout.split(`pid ${qemu.pid}`).length, 2, 'once, also where its disk is asked about');
    assert.match(named.stdout, /\[guest-without-lock\]/);
  } finally {
    await end(qemu);
  }
});

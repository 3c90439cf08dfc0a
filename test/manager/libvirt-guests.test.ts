/** virtlockd's lock without its guest in sight: libvirt is asked, and not for long. */
import assert from 'node:assert/strict';
import { linkSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { nameLibvirtGuests, parseGuestDisks } from '../../src/manager/libvirt-guests.js';
import { inodeOf } from '../../src/system/inode.js';
import { userName } from '../../src/system/user-name.js';
import type { Holder, Resource } from '../../src/vocabulary.js';
import { privateFolder } from '../beds/private-folder.js';

const folder = privateFolder();
const { PATH } = process.env;
const disk = join(folder, 'a.img');
writeFileSync(disk, '');
afterEach(() => (process.env['PATH'] = PATH));

const resource: Resource = {
  kind: 'disk',
  identity: disk,
  label: disk,
  storage: 'file',
  scope: 'host',
  path: disk,
  inode: inodeOf(statSync(disk, { bigint: true })),
};
const daemon: Holder = {
  program: 'virtlockd',
  pid: 7,
  user: userName(0),
  host: 'this host',
  through: ['virtlockd'],
  evidence: ['its line'],
  remedy: 'see which guest of libvirt uses it (virsh list), and shut that down',
};

/** Puts a virsh of our own before the real one. */
function fakeVirsh(script: string): void {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'virsh'), `#!/bin/sh\necho "$@" > ${folder}/call\n${script}`, { mode: 0o755 });
  rmSync(join(folder, 'call'), { force: true });
  process.env['PATH'] = `${bin}:${PATH}`;
}

const stats = (guest: string, path: string): string =>
  `Domain: '${guest}'\n  block.count=1\n  block.0.name=vda\n  block.0.path=${path}\n  block.0.allocation=4096\n\n`;

test('the guest that has the disk, by whatever name of it', async () => {
  linkSync(disk, `${disk}.hard`);
  fakeVirsh(`cat <<'END'\n${stats('other', '/nowhere')}${stats('web 1', `${disk}.hard`)}END\n`);
  const [holder] = await nameLibvirtGuests([daemon], resource);
  assert.equal(holder?.guest, 'web 1');
  assert.equal(holder.program, 'virtlockd');
  assert.match(holder.remedy ?? '', /^virsh (-c qemu:\/\/\/system )?shutdown 'web 1', or wait for it$/);
  assert.deepEqual(holder.evidence, ['its line', 'virsh domstats --block (qemu:///system): web 1 has it']);
});

test('two guests that share it; none', async () => {
  fakeVirsh(`cat <<'END'\n${stats('a', disk)}${stats('b', disk)}END\n`);
  const [shared] = await nameLibvirtGuests([daemon], resource);
  assert.deepEqual([shared?.guest, shared?.name], [undefined, 'virtlockd for a and b']);
  fakeVirsh(`cat <<'END'\n${stats('a', '/nowhere')}END\n`);
  const [left] = await nameLibvirtGuests([daemon], resource);
  assert.equal(left?.guest, undefined);
  assert.match(left?.remedy ?? '', /no running guest with this disk, so it may be left over/);
});

test('libvirt is not asked where it adds nothing', async () => {
  fakeVirsh('exit 1');
  const known: Holder = { ...daemon, guest: 'web1' };
  const others: readonly Holder[] = [
    known,
    { through: [], evidence: [], program: 'dd' },
    { ...daemon, user: 'nobody-else' },
  ];
  assert.deepEqual(await nameLibvirtGuests(others, resource), others);
  assert.throws(() => statSync(join(folder, 'call')));
});

test('a libvirt that says no, or nothing, changes nothing', async () => {
  for (const script of ['echo no >&2; exit 1', 'exec sleep 1000', 'echo nonsense']) {
    fakeVirsh(script);
    const [holder] = await nameLibvirtGuests([daemon], resource);
    assert.equal(holder?.guest, undefined, script);
    assert.ok(holder?.through.includes('virtlockd'));
    assert.ok(statSync(join(folder, 'call')).isFile());
  }
  process.env['PATH'] = join(folder, 'empty');
  assert.deepEqual(await nameLibvirtGuests([daemon], resource), [daemon]);
});

test('what virsh prints', () => {
  assert.deepEqual(parseGuestDisks(''), []);
  assert.deepEqual(
    parseGuestDisks("Domain: 'it's'\n  block.count=2\n  block.0.path=/a b\n  block.11.path=/c\n"),
    [{ guest: "it's", paths: ['/a b', '/c'] }],
  );
});

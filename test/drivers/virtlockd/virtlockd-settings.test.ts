import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readVirtlockdSettings } from '../../../src/drivers/virtlockd/virtlockd-settings.js';
import { isHoldfastError } from '../../../src/errors.js';
import { privateFolder } from '../../beds/private-folder.js';

const folder = privateFolder();
const runtime = { HOLDFAST_RUNTIME_DIR: '/run/here', XDG_RUNTIME_DIR: '/run/user/1000' };

test('without settings: the socket of root or of the session, and the lockspace of the other drivers', () => {
  const { socket, lockspaceDir } = readVirtlockdSettings({ qemu_lockd_conf: '/nonexistent' }, runtime);
  const root = process.geteuid?.() === 0;
  assert.equal(socket, root ? '/run/libvirt/virtlockd-sock' : '/run/user/1000/libvirt/virtlockd-sock');
  assert.equal(lockspaceDir, '/run/here/lockspace');
});

test("libvirt's lockspaces hold, unless a setting says otherwise", () => {
  const conf = join(folder, 'qemu-lockd.conf');
  writeFileSync(
    conf,
    '#file_lockspace_dir = "/no"\nfile_lockspace_dir = "/files"\nlvm_lockspace_dir = "/lvm"\n',
  );
  const { fileLockspaceDir, lvmLockspaceDir, scsiLockspaceDir, notes } = readVirtlockdSettings(
    { qemu_lockd_conf: conf, lvm_lockspace_dir: '/other' },
    runtime,
  );
  assert.deepEqual(
    [fileLockspaceDir, lvmLockspaceDir, scsiLockspaceDir, notes],
    ['/files', '/other', undefined, []],
  );
});

test("what cannot be read of libvirt's settings is said", () => {
  const conf = join(folder, 'directory.conf');
  mkdirSync(conf);
  assert.match(readVirtlockdSettings({ qemu_lockd_conf: conf }, runtime).notes[0] ?? '', /could not be seen/);
});

test('what is no setting, or no absolute path, is refused', () => {
  for (const wrong of [{ sockte: '/x' }, { socket: 'x' }, { socket: 1 }, { lockspace_dir: '' }]) {
    assert.throws(
      () => readVirtlockdSettings(wrong, runtime),
      (error) => isHoldfastError(error, 'CONFIG'),
    );
  }
});

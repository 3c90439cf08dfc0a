/** libvirt's own settings, and what is done where they cannot be seen. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { readLibvirtSettings } from '../../../src/drivers/fcntl/libvirt-settings.js';
import { privateFolder } from '../../beds/private-folder.js';
import { needs } from '../../needs.js';

const folder = privateFolder();

function settings(name: string, qemu: string, lockd = ''): string {
  const directory = join(folder, name);
  mkdirSync(directory);
  writeFileSync(join(directory, 'qemu.conf'), qemu);
  writeFileSync(join(directory, 'qemu-lockd.conf'), lockd);
  return directory;
}

test('lockspaces count only where lockd is set', () => {
  const lockd =
    'file_lockspace_dir = "/l/files"\nlvm_lockspace_dir = "/l/lvm"\nscsi_lockspace_dir = "/l/scsi"\n';
  assert.deepEqual(readLibvirtSettings(settings('on', 'lock_manager = "lockd"\n', lockd)), {
    lockd: 'yes',
    fileLockspaceDir: '/l/files',
    lvmLockspaceDir: '/l/lvm',
    scsiLockspaceDir: '/l/scsi',
    notes: [],
  });
  assert.deepEqual(readLibvirtSettings(settings('off', '#lock_manager = "lockd"\n', lockd)), {
    lockd: 'no',
    notes: [],
  });
  assert.deepEqual(readLibvirtSettings(join(folder, 'no libvirt here')), { lockd: 'no', notes: [] });
});

test('an ordinary user, who may not read qemu.conf nor write the lockspace, is told and can lock all the same', (t) => {
  if (!needs(t, 'root')) return;
  chmodSync(folder, 0o755);
  const lockspace = join(folder, 'lockspace');
  mkdirSync(lockspace, { mode: 0o700 });
  const directory = settings('hidden', 'lock_manager = "lockd"\n', `file_lockspace_dir = "${lockspace}"\n`);
  chmodSync(join(directory, 'qemu.conf'), 0o600);
  const script = `
    import { mkdtempSync, rmSync } from 'node:fs';
    const { default: fcntl } = await import(${JSON.stringify(new URL('../../../src/drivers/fcntl/fcntl.ts', import.meta.url).href)});
    const { fileResource } = await import(${JSON.stringify(new URL('../../beds/file-resource.ts', import.meta.url).href)});
    const owner = { kind: 'command', name: 'x', uuid: '0', pid: 1, startTime: 1, host: 'h', hostId: 'h' };
    const signal = new AbortController().signal;
    const driver = await fcntl.start({ libvirt_config_dirs: [] });
    const asRoot = mkdtempSync('/tmp/holdfast-test-');
    // Once before, so that everything is loaded: the project's own folder may be closed to that user.
    await driver.release(await driver.acquire(owner, [{ resource: fileResource(asRoot + '/x'), mode: 'exclusive' }], { signal }));
    rmSync(asRoot, { recursive: true });
    process.setuid(65534);
    const own = mkdtempSync('/tmp/holdfast-test-');
    process.env.HOLDFAST_RUNTIME_DIR = own + '/run';
    const user = await fcntl.start({ libvirt_config_dirs: [${JSON.stringify(directory)}] });
    const grant = await user.acquire(owner, [{ resource: fileResource(own + '/disk.img'), mode: 'exclusive' }], { signal });
    console.log(JSON.stringify({ notes: user.notes(), granted: grant.notes, descriptors: grant.descriptors.length }));
    rmSync(own, { recursive: true });`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', script],
    {
      encoding: 'utf8',
    },
  );
  assert.notEqual(stdout, '', stderr);
  const said = JSON.parse(stdout) as { notes: string[]; granted: string[]; descriptors: number };
  assert.match(said.notes.join(), /libvirt's setting could not be seen \(EACCES/);
  assert.match(said.granted.join(), /not locked in .*lockspace/);
  assert.equal(said.descriptors, 1);
});

/**
 * What libvirt on this host does about locks: `lock_manager` in qemu.conf, lockspace directories in
 * qemu-lockd.conf. A Holdfast command and a libvirt guest exclude each other only if both lock the same files.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { causeText } from '../../errors.js';
import { libvirtSetting } from '../../system/libvirt-config.js';

export interface LibvirtSettings {
  /** `yes`: lockd is set. `no`: it is not, or libvirt is not here. `unknown`: qemu.conf could not be read. */
  readonly lockd: 'yes' | 'no' | 'unknown';
  readonly fileLockspaceDir?: string;
  readonly lvmLockspaceDir?: string;
  readonly scsiLockspaceDir?: string;
  readonly notes: readonly string[];
}

/** Reads one directory of libvirt's configuration. A missing file means that libvirt's defaults hold. */
export function readLibvirtSettings(directory: string): LibvirtSettings {
  const notes: string[] = [];
  const read = (file: string): string | undefined => {
    try {
      return readFileSync(join(directory, file), 'utf8');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOENT' || code === 'ENOTDIR') return '';
      notes.push(
        `libvirt's setting could not be seen (${causeText(error)}): a guest that libvirt locks by a lockspace directory might not be noticed`,
      );
      return undefined;
    }
  };
  const qemu = read('qemu.conf');
  const lockd =
    qemu === undefined ? 'unknown' : libvirtSetting(qemu, 'lock_manager') === 'lockd' ? 'yes' : 'no';
  if (lockd === 'no') return { lockd, notes };
  const settings = read('qemu-lockd.conf') ?? '';
  const lockspace = (name: string): string | undefined => libvirtSetting(settings, `${name}_lockspace_dir`);
  const file = lockspace('file');
  const lvm = lockspace('lvm');
  const scsi = lockspace('scsi');
  // With no lockspace directory libvirt locks the image itself, which is what is done here anyway.
  const harmless = lockd === 'unknown' && settings !== '' && (file ?? lvm ?? scsi) === undefined;
  return {
    lockd,
    ...(file === undefined ? {} : { fileLockspaceDir: file }),
    ...(lvm === undefined ? {} : { lvmLockspaceDir: lvm }),
    ...(scsi === undefined ? {} : { scsiLockspaceDir: scsi }),
    notes: harmless ? notes.map((note) => `${note}; but qemu-lockd.conf names no such directory`) : notes,
  };
}

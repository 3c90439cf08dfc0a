/** The driver's settings: `[driver.virtlockd]` in the configuration, and what libvirt's own configuration says. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { DriverSettings } from '../../driver/contract.js';
import { causeText, HoldfastError } from '../../errors.js';
import { libvirtDirectories, libvirtSetting } from '../../system/libvirt-config.js';
import { runtimeDirectory } from '../../system/runtime-directory.js';

export interface VirtlockdSettings {
  readonly socket: string;
  /** For what has no file of its own to lock: domain uuids, leases without a path, directories, devices by identity. */
  readonly lockspaceDir: string;
  /** Where libvirt's own lock files are, if it is set to use some (qemu-lockd.conf). */
  readonly fileLockspaceDir?: string;
  readonly lvmLockspaceDir?: string;
  readonly scsiLockspaceDir?: string;
  readonly notes: readonly string[];
}

const names = [
  'socket',
  'lockspace_dir',
  'qemu_lockd_conf',
  'file_lockspace_dir',
  'lvm_lockspace_dir',
  'scsi_lockspace_dir',
] as const;

/** Throws `CONFIG` for a setting that does not exist or is no absolute path. */
export function readVirtlockdSettings(
  given: DriverSettings,
  environment: NodeJS.ProcessEnv = process.env,
): VirtlockdSettings {
  for (const [name, value] of Object.entries(given)) {
    if (!(names as readonly string[]).includes(name)) {
      throw wrong(`there is no setting '${name}'; there are ${names.join(', ')}`);
    }
    if (typeof value !== 'string' || !value.startsWith('/')) throw wrong(`${name} must be an absolute path`);
  }
  const own = given as Partial<Record<(typeof names)[number], string>>;
  const notes: string[] = [];
  const libvirt = readLibvirt(
    own.qemu_lockd_conf ?? join(libvirtDirectories().at(-1) ?? '', 'qemu-lockd.conf'),
    notes,
  );
  const directory = (name: 'file' | 'lvm' | 'scsi'): string | undefined =>
    own[`${name}_lockspace_dir`] ?? libvirtSetting(libvirt, `${name}_lockspace_dir`);
  const file = directory('file');
  const lvm = directory('lvm');
  const scsi = directory('scsi');
  return {
    socket: own.socket ?? virtlockdSocket(environment),
    lockspaceDir: own.lockspace_dir ?? join(runtimeDirectory(environment), 'lockspace'),
    ...(file === undefined ? {} : { fileLockspaceDir: file }),
    ...(lvm === undefined ? {} : { lvmLockspaceDir: lvm }),
    ...(scsi === undefined ? {} : { scsiLockspaceDir: scsi }),
    notes,
  };
}

/** Where virtlockd listens: the system's for root, else that of the user's session. */
function virtlockdSocket(environment: NodeJS.ProcessEnv): string {
  if (process.geteuid?.() === 0) return '/run/libvirt/virtlockd-sock';
  const session = environment['XDG_RUNTIME_DIR'];
  // As libvirt does (glib's g_get_user_runtime_dir): without a runtime directory, the cache.
  const directory = session?.startsWith('/') === true ? session : join(homedir(), '.cache');
  return join(directory, 'libvirt', 'virtlockd-sock');
}

function readLibvirt(path: string, notes: string[]): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return '';
    notes.push(
      `libvirt's setting could not be seen (${causeText(error)}): a guest that libvirt locks by a lockspace directory might not be noticed`,
    );
    return '';
  }
}

function wrong(what: string): HoldfastError {
  return new HoldfastError('CONFIG', `driver virtlockd: ${what}`);
}

/** The driver's settings: `[driver.fcntl]` in the configuration, and `--qemu-lock`. */
import type { DriverSettings } from '../../driver/contract.js';
import { HoldfastError, type ErrorDetails } from '../../errors.js';
import { nearestWord } from '../../nearest-word.js';
import type { QemuLock } from './byte-locks.js';

export interface FcntlSettings {
  /** `check`: QEMU's locks are respected. `hold`: taken as well, for commands that are not QEMU. `off`: not looked at. */
  readonly qemuLock: QemuLock;
  /** Where locks without a file of their own live; default: `lockspace` in the runtime directory. */
  readonly lockspaceDir?: string;
  /** Where qemu.conf and qemu-lockd.conf are looked for; default: libvirt's own places. */
  readonly libvirtConfigDirs?: readonly string[];
  /** Whether a holder of a file that hosts share leaves a record of itself there, for those that it keeps out. */
  readonly leaveRecord: boolean;
}

const names = ['qemu_lock', 'lockspace_dir', 'libvirt_config_dirs', 'leave_record'];
const qemuLocks: readonly unknown[] = ['check', 'hold', 'off'];

/** Throws `CONFIG` for a setting that does not exist or has a wrong value. */
export function readFcntlSettings(given: DriverSettings): FcntlSettings {
  const {
    qemu_lock: qemuLock = 'check',
    lockspace_dir: lockspaceDir,
    libvirt_config_dirs: libvirtConfigDirs,
    leave_record: leaveRecord = true,
    ...rest
  } = given;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) {
    const near = nearestWord(unknown, names);
    const remedy = near === undefined ? {} : { remedy: `Did you mean ${near}?` };
    throw wrong(unknown, `there is no setting '${unknown}'; there are ${names.join(', ')}`, remedy);
  }
  if (!qemuLocks.includes(qemuLock)) {
    throw wrong(
      'qemu_lock',
      `qemu_lock must be "check", "hold" or "off", but is ${JSON.stringify(qemuLock)}`,
    );
  }
  if (lockspaceDir !== undefined && !isAbsolutePath(lockspaceDir)) {
    throw wrong('lockspace_dir', 'lockspace_dir must be an absolute path');
  }
  if (libvirtConfigDirs !== undefined && !isPathList(libvirtConfigDirs)) {
    throw wrong('libvirt_config_dirs', 'libvirt_config_dirs must be a list of absolute paths');
  }
  if (typeof leaveRecord !== 'boolean') throw wrong('leave_record', 'leave_record must be true or false');
  return {
    qemuLock: qemuLock as QemuLock,
    leaveRecord,
    ...(lockspaceDir === undefined ? {} : { lockspaceDir }),
    ...(libvirtConfigDirs === undefined ? {} : { libvirtConfigDirs }),
  };
}

const isAbsolutePath = (value: unknown): value is string =>
  typeof value === 'string' && value.startsWith('/');

const isPathList = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every(isAbsolutePath);

function wrong(setting: string, what: string, details: ErrorDetails = {}): HoldfastError {
  return new HoldfastError('CONFIG', `driver fcntl: ${what}`, { setting, ...details });
}

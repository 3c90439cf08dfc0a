/**
 * Makes libvirt's lease of a disk, or its lockspace of all disks, where it is missing: as libvirt does when a guest starts.
 *
 * It is made under another name and linked into its place when it is complete, so nobody ever finds half of it.
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  openSync,
  readFileSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { causeText, HoldfastError } from '../../errors.js';
import { groupId } from '../../system/group-id.js';
import { parsePasswd } from '../../system/user-name.js';
import { writeLockspace, writeResource } from './client-library.js';
import type { SanlockLockspace } from './client-structs.js';
import { leaseFault } from './explain-result.js';
import { asResource } from './lease-holders.js';
import type { LeaseName } from './libvirt-lease-names.js';
import type { LibvirtSanlockSettings } from './libvirt-sanlock-settings.js';
import { SanlockError } from './sanlock-error.js';

/** Of a file, whatever the sectors of the disk below it are: sanlock's own default. */
const areaBytes = 1024 * 1024;

type Whose = Pick<LibvirtSanlockSettings, 'user' | 'group'>;

/** @throws HoldfastError NO_LEASE, NOT_PERMITTED, DRIVER_FAILED */
export async function makeMissingLease(lease: LeaseName, label: string, whose: Whose): Promise<void> {
  if (!lease.automatic || existsSync(lease.path)) return;
  await makeFile(lease, label, whose, (path) => writeResource(asResource({ ...lease, path }, false)));
}

/** @throws as above */
export async function makeMissingLockspace(
  lockspace: SanlockLockspace,
  ioTimeoutS: number,
  label: string,
  whose: Whose,
): Promise<void> {
  if (existsSync(lockspace.path)) return;
  const { name, path, offset } = lockspace;
  const named = { lockspace: name, name, path, offset, automatic: true };
  await makeFile(named, label, whose, (draft) => writeLockspace({ ...lockspace, path: draft }, ioTimeoutS));
}

async function makeFile(
  named: LeaseName,
  label: string,
  { user, group }: Whose,
  write: (path: string) => Promise<void>,
): Promise<void> {
  const { path } = named;
  const draft = join(dirname(path), `.holdfast-${randomBytes(8).toString('hex')}`);
  try {
    const fd = openSync(draft, 'wx', 0o600);
    try {
      const gid = group === undefined ? -1 : groupNumber(group);
      // The daemon has to write it: the group that libvirt's configuration names is the daemon's.
      chmodSync(draft, group === undefined ? 0o600 : 0o660);
      if (user !== undefined || group !== undefined) {
        chownSync(draft, user === undefined ? -1 : userNumber(user), gid);
      }
      ftruncateSync(fd, areaBytes);
    } finally {
      closeSync(fd);
    }
    await write(draft);
    linkSync(draft, path);
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return; // Somebody else has made it meanwhile.
    if (error instanceof SanlockError) throw leaseFault(error, named, label);
    if (syscall === undefined) throw error;
    throw new HoldfastError(
      code === 'ENOENT' || code === 'ENOTDIR'
        ? 'NO_LEASE'
        : code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
          ? 'NOT_PERMITTED'
          : 'DRIVER_FAILED',
      `${label}: its lease could not be made as ${path}: ${causeText(error)}`,
      {
        resource: label,
        cause: error,
        remedy: 'See that disk_lease_dir of qemu-sanlock.conf is there, mounted, and writable for this user.',
      },
    );
  } finally {
    if (existsSync(draft)) unlinkSync(draft);
  }
}

const numberOf = (text: string): number | undefined => (/^\+?\d+$/.test(text) ? Number(text) : undefined);

function userNumber(name: string): number {
  const found = [...parsePasswd(readFileSync('/etc/passwd', 'utf8'))].find(([, user]) => user === name)?.[0];
  return numberOf(name) ?? found ?? missing('user', name);
}

function groupNumber(name: string): number {
  return numberOf(name) ?? groupId(name) ?? missing('group', name);
}

function missing(setting: 'user' | 'group', name: string): never {
  throw new HoldfastError('CONFIG', `driver sanlock: there is no ${setting} ${name}`, { setting });
}

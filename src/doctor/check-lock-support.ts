/** Whether locks work where the disks are: by trying. */
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { causeText } from '../errors.js';
import type { Mount } from '../system/mounts.js';
import { inodeOf } from '../system/inode.js';
import { finding, type Finding } from './finding.js';
import type { Disk, Host } from './host.js';
import { folderOf, tryLocksAcross, tryLocksIn, type LockTrial } from './lock-trial.js';

export function checkLockSupport(host: Host, disks: readonly Disk[]): Finding[] {
  return [...checkRuntimeDirectory(host.runtimeDirectory), ...disks.flatMap((disk) => checkDisk(host, disk))];
}

/** Disks that are no files are locked by files in there. Missing: it will be made, on the same file system as its parent. */
function checkRuntimeDirectory(directory: string): Finding[] {
  const isThere = statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true;
  return isThere ? [lockFinding(directory, tryLocksIn(directory))] : [];
}

function checkDisk(host: Host, disk: Disk): Finding[] {
  const { label, seen } = disk;
  const writable = checkWritable(label, seen.realPath);
  // A device is locked by a file of the runtime directory, a directory too; but images will be in that one.
  if (seen.storage === 'block') return writable;
  const folder = folderOf(seen.realPath, seen.storage);
  const trial = tryLocksIn(folder, seen.storage === 'file' ? seen.realPath : undefined);
  return [lockFinding(label, trial), ...checkOtherMount(host, disk, folder, trial), ...writable];
}

function checkWritable(subject: string, path: string): Finding[] {
  try {
    accessSync(path, constants.W_OK);
    return [];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const evidence = [causeText(error)];
    if (code !== 'EROFS')
      return [finding('not-writable', { subject, what: 'you may not write it', evidence })];
    const what = 'its file system is mounted read-only';
    return [finding('not-writable', { subject, what, remedy: mountForWriting, evidence })];
  }
}

const mountForWriting = 'Mount the file system for writing, if the disk is to be written.';

export function lockFinding(subject: string, trial: LockTrial): Finding {
  const evidence = [trial.evidence];
  switch (trial.outcome) {
    case 'works':
      return finding('locks-work', { subject, what: 'locks work here', evidence });
    case 'broken':
      return finding('locks-missing', { subject, what: 'locks do not work here', evidence });
    case 'untried': {
      const asked = trial.asked ? ', only asked for; the kernel answers' : '';
      const why = trial.readOnly ? ', on a file system that is mounted read-only' : '';
      return finding('locks-untried', {
        subject,
        what: `locks could not be tried here${why}${asked}`,
        evidence,
        ...(trial.readOnly ? { remedy: mountForWriting } : {}),
      });
    }
  }
}

/** Only for storage that other hosts reach. */
function checkOtherMount(host: Host, disk: Disk, folder: string, trial: LockTrial): Finding[] {
  const { label: subject, resource } = disk;
  if (resource.scope !== 'cluster' || trial.outcome === 'broken') return [];
  const mount = host.mountOf(disk);
  const other = mount === undefined ? undefined : sameFolderElsewhere(folder, mount, host);
  const across = other === undefined ? undefined : tryLocksAcross(folder, other);
  if (across === undefined || other === undefined) {
    const what = 'whether other hosts see a lock here was not tried';
    return [finding('other-hosts-untried', { subject, what })];
  }
  const seen = across.outcome === 'works';
  return [
    finding(seen ? 'locks-reach-other-mount' : 'locks-miss-other-mount', {
      subject,
      what: `a lock here is ${seen ? 'seen' : 'not seen'} through the other mount, ${other}`,
      evidence: [across.evidence],
    }),
  ];
}

/** The same folder by another mount that has a device of its own: one of the same device shares the locks anyway. */
function sameFolderElsewhere(folder: string, mount: Mount, { mounts }: Host): string | undefined {
  const below = mount.point === '/' ? folder : folder.slice(mount.point.length);
  const ino = inodeNumber(folder);
  return [...mounts.values()]
    .flat()
    .filter(({ type, source, dev }) => type === mount.type && source === mount.source && dev !== mount.dev)
    .map(({ point }) => join(point, below))
    .find((candidate) => ino !== undefined && inodeNumber(candidate) === ino);
}

function inodeNumber(path: string): string | undefined {
  try {
    return inodeOf(statSync(path, { bigint: true })).ino;
  } catch {
    return undefined;
  }
}

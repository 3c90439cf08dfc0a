/** Guests that run without locks on their images: told so (`locking=off`), or found so. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { basename, join } from 'node:path';
import { hasAnyLock } from '../holders/fuse-locks.js';
import { isWatched } from '../holders/lock-meaning.js';
import { isQemuProgram, readGuest } from '../holders/qemu-command-line.js';
import { fileOfProcess } from '../system/file-of-process.js';
import { sameInode } from '../system/inode.js';
import { testLock } from '../system/ofd-lock.js';
import { findOpenFiles, type FileTarget, type OpenFile } from '../system/open-files.js';
import type { ProcessInfo } from '../system/process.js';
import type { Resource } from '../vocabulary.js';
import { finding, type Finding } from './finding.js';
import { drivesOf, type GuestDrive } from './guest-drives.js';
import type { Host } from './host.js';

interface Guest {
  readonly pid: number;
  /** `guest "web1" (pid 5783)`. */
  readonly label: string;
  readonly incoming: boolean;
  readonly drives: readonly GuestDrive[];
}

/** An image of a guest that is there. */
type Image = FileTarget & { readonly guest: Guest; readonly drive: GuestDrive };

/** A drive of a guest, and how it stands with its image, where that can be seen. */
interface SeenDrive {
  readonly guest: Guest;
  readonly drive: GuestDrive;
  readonly image: Image | undefined;
  readonly seen: ImageState | undefined;
}

interface SeenGuests {
  readonly guests: readonly Guest[];
  readonly drives: readonly SeenDrive[];
  readonly denied: readonly number[];
}

/** Looked at once for a host, whoever asks. */
const looks = new WeakMap<Host, Promise<SeenGuests>>();

function seenGuests(host: Host): Promise<SeenGuests> {
  const known = looks.get(host) ?? lookAtGuests(host);
  looks.set(host, known);
  return known;
}

async function lookAtGuests(host: Host): Promise<SeenGuests> {
  const guests = host.processes.flatMap(guestOf);
  if (guests.length === 0) return { guests, drives: [], denied: [] };
  const images = guests.flatMap((guest) => imagesOf(guest, host.roots.proc));
  const { files, denied } = await findOpenFiles(images, { root: host.roots.proc });
  const drives = guests.flatMap((guest) =>
    guest.drives.map((drive): SeenDrive => {
      const image = images.find((one) => one.guest === guest && one.drive === drive);
      // Of one whose descriptors may not be seen, the command line is all there is.
      const unseen = image === undefined || denied.includes(guest.pid);
      return { guest, drive, image, seen: unseen ? undefined : stateOf(image, files, host) };
    }),
  );
  return { guests, drives, denied };
}

/** Whether `checkGuests` says of a process that it has a disk open for writing under no lock. */
export async function isUnlockedGuest(
  host: Host,
  pid: number | undefined,
  { inode, device }: Pick<Resource, 'inode' | 'device'>,
): Promise<boolean> {
  const { drives } = await seenGuests(host);
  return drives.some(({ guest, image, seen }) => {
    if (guest.pid !== pid || seen?.state !== 'unlocked' || image === undefined) return false;
    return image.kind === 'device'
      ? image.device === device
      : inode !== undefined && sameInode(image.inode, inode);
  });
}

export async function checkGuests(host: Host): Promise<Finding[]> {
  const { guests, drives, denied } = await seenGuests(host);
  if (guests.length === 0) return [finding('guests-locked', { what: 'no guest runs' })];
  const found = drives.flatMap(({ guest, drive, seen }) => judgeDrive(guest, drive, seen));
  const hidden = guests.filter(({ pid }) => denied.includes(pid));
  if (hidden.length > 0) {
    found.push(
      finding('guests-unseen', {
        what: `what ${hidden.length} of ${guests.length} guests have open cannot be seen`,
        evidence: hidden.map(({ label }) => label),
      }),
    );
  }
  if (found.length > 0) return found;
  const what = `${guests.length === 1 ? 'one guest runs, with' : `${guests.length} guests run, all with`} locks`;
  return [finding('guests-locked', { what, evidence: guests.map(({ label }) => label) })];
}

function guestOf({ pid, exe, argv, comm }: ProcessInfo): Guest[] {
  const program = exe ?? basename(argv[0] ?? comm);
  if (!isQemuProgram(program) && program !== 'qemu-storage-daemon') return [];
  const { name } = readGuest(argv);
  const who = name === undefined ? program : `guest "${name}"`;
  return [
    {
      pid,
      label: `${who} (pid ${pid})`,
      incoming: argv.includes('-incoming') || argv.includes('--incoming'),
      drives: argv.includes('-snapshot') ? [] : drivesOf(argv).filter(({ readonly }) => !readonly),
    },
  ];
}

function imagesOf(guest: Guest, proc: string): Image[] {
  return guest.drives.flatMap((drive): Image[] => {
    const file = fileOfProcess(guest.pid, drive.path, proc);
    if (file?.device !== undefined) {
      return [{ kind: 'device', device: file.device, guest, drive }];
    }
    return file?.regular === true ? [{ kind: 'inode', inode: file.inode, guest, drive }] : [];
  });
}

/** `closed`: the guest does not write it (now). */
interface ImageState {
  readonly state: 'closed' | 'locked' | 'unlocked';
  readonly evidence: readonly string[];
}

function stateOf(image: Image, files: readonly OpenFile<Image>[], host: Host): ImageState {
  const all = files.filter(({ target }) => isSameTarget(target, image));
  const own = all.filter(({ pid, access }) => pid === image.guest.pid && access.includes('write'));
  const evidence = own.map(({ pid, fd, path }) => `/proc/${pid}/fd/${fd} -> ${path ?? '?'}`);
  if (own.length === 0) return { state: 'closed', evidence };
  const locked =
    all.some(({ locks }) => locks.some(isWatched)) ||
    isLockedUnseen(image, host) ||
    isLockedInLockspace(image.drive.path, host);
  return { state: locked ? 'locked' : 'unlocked', evidence };
}

function isSameTarget(a: FileTarget, b: FileTarget): boolean {
  if (a.kind === 'device') return b.kind === 'device' && a.device === b.device;
  return b.kind === 'inode' && sameInode(a.inode, b.inode);
}

/** Locks on FUSE file systems do not show in /proc: the file has to be asked. */
function isLockedUnseen(image: Image, { mounts, roots }: Host): boolean {
  if (image.kind !== 'inode') return false;
  const type = [...mounts.values()].flat().find(({ dev }) => dev === image.inode.dev)?.type;
  if (type === undefined || !/^fuse(\.|$)/.test(type)) return false;
  const path = `${roots.proc}/${image.guest.pid}/root${image.drive.path}`;
  return hasAnyLock({
    kind: 'disk',
    identity: '',
    label: path,
    storage: 'file',
    scope: 'host',
    path,
    inode: image.inode,
  });
}

/** libvirt's lockspace directory: virtlockd locks a file there, named by the hash of the path. */
function isLockedInLockspace(path: string, host: Host): boolean {
  return host.libvirt.some(({ lockspaces }) => {
    const directory = lockspaces.get('file');
    if (directory === undefined) return false;
    return isLocked(join(directory, createHash('sha256').update(path).digest('hex')));
  });
}

function isLocked(path: string): boolean {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    return testLock(fd, 'write', 0) !== undefined;
  } catch {
    return false;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function judgeDrive(guest: Guest, drive: GuestDrive, seen: ImageState | undefined): Finding[] {
  const off = drive.locking === 'off' ? [`its command line says locking=off`] : [];
  if (seen?.state === 'unlocked') {
    const migration = guest.incoming
      ? ['it was started with -incoming: until a migration into it is over, it has no locks']
      : [];
    return [
      finding('guest-without-lock', {
        subject: drive.path,
        what: `${guest.label} has it open for writing, and nobody has a lock on it`,
        evidence: [...seen.evidence, ...off, ...migration],
      }),
    ];
  }
  if (off.length === 0 || seen?.state === 'closed') return [];
  const other = seen === undefined ? '' : '; another lock holds it';
  return [
    finding('guest-locking-off', {
      subject: drive.path,
      what: `${guest.label} runs with locking=off for it${other}`,
      evidence: [...off, ...(seen?.evidence ?? [])],
    }),
  ];
}

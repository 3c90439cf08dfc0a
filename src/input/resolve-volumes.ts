import { stat } from 'node:fs/promises';
import { HoldfastError, isHoldfastError } from '../errors.js';
import type { DiskDescription, GuestDescription, Source } from '../vocabulary.js';
import { inputError } from './input-error.js';
import { runVirsh, VirshFailure, type AskOptions, type Connection } from './virsh.js';

/** A virsh takes about 20 ms, and libvirt serves 5 calls of a client at once (libvirtd.conf, max_client_requests). */
const asksAtOnce = 4;

type Answer = { readonly source: Source } | { readonly note: string } | { readonly missing: VirshFailure };
type VolumeSource = Extract<Source, { type: 'volume' }>;

/**
 * Asks libvirt where the volumes of a guest are, those of mirrors and backing stores too. Where it cannot be
 * asked (no virsh, no libvirt), or the volume is no path (a network pool), the source stays and a note says why.
 * @throws HoldfastError NO_SUCH_FILE (libvirt has no such volume, and it is not optional), ABORTED
 */
export async function resolveVolumes(
  guest: GuestDescription,
  connection: Connection = {},
  options: AskOptions = {},
): Promise<GuestDescription> {
  const volumes = new Map<string, VolumeSource>();
  for (const disk of guest.disks) collect(disk, volumes);
  if (volumes.size === 0) return guest;

  const answers = new Map<string, Answer>();
  const waiting = [...volumes].values();
  const worker = async (): Promise<void> => {
    // One iterator for all workers: each takes the next volume that nobody has taken.
    for (const [key, volume] of waiting) answers.set(key, await ask(volume, connection, options));
  };
  await Promise.all(Array.from({ length: Math.min(asksAtOnce, volumes.size) }, worker));
  return { ...guest, disks: guest.disks.map((disk) => place(disk, answers)) };
}

function keyOf({ pool, volume }: VolumeSource): string {
  return JSON.stringify([pool, volume]);
}

function collect(disk: DiskDescription, into: Map<string, VolumeSource>): void {
  if (disk.source.type === 'volume') into.set(keyOf(disk.source), disk.source);
  for (const base of disk.backing ?? []) collect(base, into);
}

async function ask(
  { pool, volume }: VolumeSource,
  connection: Connection,
  options: AskOptions,
): Promise<Answer> {
  try {
    const printed = await runVirsh(connection, ['vol-path', '--pool', pool, '--', volume], options);
    // virsh ends what it prints with two line feeds; a path may end in white space of its own.
    const path = printed.replace(/\n{1,2}$/, '');
    if (!path.startsWith('/')) return { note: `libvirt gives no path for it, but ${path}` };
    return { source: { type: await typeOf(path), path } };
  } catch (error) {
    if (error instanceof VirshFailure) {
      const { words } = error;
      // libvirt's words for VIR_ERR_NO_STORAGE_POOL and VIR_ERR_NO_STORAGE_VOL.
      if (/Storage (?:pool|volume) not found/.test(words)) return { missing: error };
      return { note: `libvirt could not say where it is: ${words}` };
    }
    if (isHoldfastError(error, 'LIBVIRT_UNREACHABLE')) {
      return { note: 'the command virsh, which could say where it is, is missing' };
    }
    throw error;
  }
}

/** A pool of devices has paths of block devices; what cannot be seen is left to the plan as a file. */
async function typeOf(path: string): Promise<'file' | 'block' | 'dir'> {
  try {
    const stats = await stat(path);
    if (stats.isBlockDevice()) return 'block';
    return stats.isDirectory() ? 'dir' : 'file';
  } catch {
    return 'file';
  }
}

function place(disk: DiskDescription, answers: ReadonlyMap<string, Answer>): DiskDescription {
  const backing = disk.backing?.map((base) => place(base, answers));
  const placed = backing === undefined ? disk : { ...disk, backing };
  const answer = disk.source.type === 'volume' ? answers.get(keyOf(disk.source)) : undefined;
  if (answer === undefined) return placed;
  if ('source' in answer) return { ...placed, source: answer.source };
  if ('note' in answer) return { ...placed, note: [disk.note, answer.note].filter(Boolean).join('; ') };
  if (disk.optional) return { ...placed, skip: 'libvirt has no such volume' };
  const message = `libvirt has no volume ${disk.label}: ${answer.missing.words}`;
  const details = { resource: disk.label, remedy: 'See `virsh vol-list POOL`.', cause: answer.missing };
  throw disk.place === undefined
    ? new HoldfastError('NO_SUCH_FILE', message, details)
    : inputError('NO_SUCH_FILE', disk.place, message, details);
}

/** Finds the areas of leases and lockspaces in a file or on a device. */
import type { FoundLeaseArea, LeasePlace } from '../../driver/contract.js';
import { HoldfastError, isHoldfastError } from '../../errors.js';
import { mebibyte } from './area-form.js';
import { describeArea } from './describe-area.js';
import { lookAtFile, possibleAreas, storageOf } from './lease-file.js';
import { readHead, type AreaHead } from './sanlock-direct.js';

/** As many leases as a lockspace of libvirt's may have in one volume; a whole disk of some TiB would be read for hours. */
const scannedBytesMax = 1024 * mebibyte;

/**
 * What there is, in the order of offsets; with an offset, no more than what is there.
 * @throws HoldfastError NO_SUCH_FILE, NOT_READABLE, NOT_A_DISK, NOT_PERMITTED, BAD_DATA, DRIVER_FAILED
 */
export async function readLeaseAreas({ path, offset }: LeasePlace): Promise<readonly FoundLeaseArea[]> {
  const stats = lookAtFile(path);
  if (stats === undefined) throw new HoldfastError('NO_SUCH_FILE', `there is no ${path}`, { resource: path });
  const heads =
    offset === undefined
      ? await areasFrom(path, 0, Math.min(storageOf(stats).bytes, scannedBytesMax))
      : [[offset, await readArea(path, offset)] as const];
  const found: FoundLeaseArea[] = [];
  for (const [at, head] of heads) if (head !== undefined) found.push(await describeArea(path, at, head));
  return found;
}

/** What begins there. A lockspace has at each of its sectors what it has at its beginning, which is at a multiple of its size. */
export async function readArea(path: string, offset: number, force = false): Promise<AreaHead | undefined> {
  requireMebibytes(path, offset);
  const head = await readHead(path, offset).catch((error: unknown) => {
    // What is damaged may be made anew.
    if (force && isHoldfastError(error, 'BAD_DATA')) return undefined;
    throw error;
  });
  return head !== undefined && offset % head.bytes === 0 ? head : undefined;
}

/** All that begins in a part of it, in the order of offsets. */
export async function areasFrom(
  path: string,
  from: number,
  to: number,
): Promise<(readonly [number, AreaHead])[]> {
  const found: (readonly [number, AreaHead])[] = [];
  let end = from;
  for (const at of possibleAreas(path, from, to)) {
    if (at < end) continue;
    const head = await readArea(path, at);
    if (head === undefined) continue;
    found.push([at, head]);
    end = at + head.bytes;
  }
  return found;
}

/** No area is smaller. Throws `USAGE`. */
function requireMebibytes(path: string, offset: number): void {
  const rest = offset % mebibyte;
  if (rest === 0) return;
  const message = `nothing of sanlock's begins in ${path} at ${offset}, which is no multiple of ${mebibyte} (1 MiB)`;
  throw new HoldfastError('USAGE', message, {
    resource: path,
    remedy: `Say ${offset - rest} or ${offset - rest + mebibyte}, or such as 5M.`,
  });
}

/**
 * Makes the areas that leases and lockspaces are kept in, through `sanlock direct`: that needs no daemon.
 *
 * Nothing that may be somebody's is written over: no lease that has an owner who is not known to be dead, no lockspace with such a
 * host in it, and without `force` no data of anything else.
 */
import { unlinkSync, type Stats } from 'node:fs';
import type { FoundLeaseArea, LeaseArea, MadeLeaseArea, MakeLeaseOptions } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import {
  areaBytesMax,
  defaultForm,
  formFor,
  formInWords,
  mebibyte,
  sizeInWords,
  type AreaForm,
} from './area-form.js';
import { areaInWords, describeArea, hostInWords } from './describe-area.js';
import { areasFrom, readArea } from './find-areas.js';
import { hasData, lookAtFile, makeRoom, storageOf } from './lease-file.js';
import { leaseNameBytesMax, leasePathBytesMax } from './libvirt-lease-names.js';
import { initArea, readHead, type AreaHead } from './sanlock-direct.js';

/**
 * Makes a lease or a lockspace where nobody has anything; a file that is missing is made, one that is too short is made longer.
 * @throws HoldfastError IN_USE, USAGE, NO_SUCH_FILE, NOT_A_DISK, NOT_PERMITTED, DRIVER_FAILED
 */
export async function makeLeaseArea(
  area: LeaseArea,
  { force, ...asked }: MakeLeaseOptions,
): Promise<MadeLeaseArea> {
  requireProper(area);
  const { path, offset } = area;
  const stats = lookAtFile(path);
  const head = stats === undefined ? undefined : await readArea(path, offset, force);
  const form = await formOf(area, stats, asked);
  if (head !== undefined) {
    const found = await describeArea(path, offset, head);
    if (!force && isSame(found, area, asked)) return { area: found, made: false };
    refuseOthers(found, area, asked, force);
  }
  requirePlace(area, form, stats);
  if (stats !== undefined) await requireFree(area, form, head, force);
  const isNew = stats === undefined;
  makeRoom(path, offset + form.bytes, stats);
  try {
    await initArea(area, form);
    const written = await readHead(path, offset);
    if (written === undefined) {
      throw new HoldfastError('DRIVER_FAILED', `${path} does not have what was written to it`, {
        resource: path,
      });
    }
    return { area: await describeArea(path, offset, written), made: true };
  } catch (error) {
    if (isNew) unlinkSync(path);
    throw error;
  }
}

/** As its lockspace is, where that begins the same file or device: sanlock wants them alike. */
async function formOf(
  { lockspace, path, offset, name }: LeaseArea,
  stats: Stats | undefined,
  asked: Partial<AreaForm>,
): Promise<AreaForm> {
  const usual = defaultForm(stats === undefined ? undefined : storageOf(stats).sectorBytes);
  if (stats === undefined || offset === 0 || name === undefined) return formFor(asked, usual);
  const first = await readArea(path, 0, true);
  if (first?.kind !== 'lockspace' || first.lockspace !== lockspace) return formFor(asked, usual);
  if (hasForm(first, asked)) return { sectorBytes: first.sectorBytes, bytes: first.bytes };
  const message = `the lockspace ${lockspace} in ${path} has areas of ${formInWords(first)}, and sanlock takes no other lease in it`;
  throw new HoldfastError('USAGE', message, {
    resource: path,
    remedy: 'Leave out --sector and --align, or name another lockspace.',
  });
}

function requireProper({ lockspace, name, path }: LeaseArea): void {
  const wrong = (what: string): HoldfastError =>
    new HoldfastError('USAGE', what, {
      resource: path,
      remedy: `Names have 1 to ${leaseNameBytesMax} bytes, no colon and no blank; paths fewer than ${leasePathBytesMax} bytes.`,
    });
  for (const text of [lockspace, ...(name === undefined ? [] : [name])]) {
    // sanlock itself, its status and its logs tell names apart by colons and blanks.
    if (text === '' || /[:\s\0]/.test(text))
      throw wrong(`"${text}" cannot be the name of a lockspace or lease`);
    const bytes = Buffer.byteLength(text);
    if (bytes > leaseNameBytesMax) throw wrong(`the name "${text}" has ${bytes} bytes`);
  }
  if (Buffer.byteLength(path) >= leasePathBytesMax) throw wrong('the path is too long for sanlock');
}

function requirePlace({ path, offset }: LeaseArea, form: AreaForm, stats: Stats | undefined): void {
  const wrong = (what: string, remedy: string): HoldfastError =>
    new HoldfastError('USAGE', what, { resource: path, remedy });
  const storage = stats === undefined ? undefined : storageOf(stats);
  if (storage?.sectorBytes !== undefined && storage.sectorBytes > form.sectorBytes) {
    const message = `${path} has sectors of ${storage.sectorBytes} bytes, so there can be none of ${form.sectorBytes} in it`;
    throw wrong(message, 'Leave out --sector, or say --sector=4096.');
  }
  const size = sizeInWords(form.bytes);
  const rest = offset % form.bytes;
  if (rest !== 0) {
    const [before, behind] = [offset - rest, offset - rest + form.bytes];
    const message = `the offset ${offset} is no multiple of ${form.bytes}: an area takes ${formInWords(form)} there`;
    throw wrong(message, `Say ${before} or ${behind}, or another multiple of ${size}.`);
  }
  if (stats?.isBlockDevice() === true && storage !== undefined && offset + form.bytes > storage.bytes) {
    const places = Math.floor(storage.bytes / form.bytes);
    const message = `${path} has ${sizeInWords(storage.bytes)}, and an area of ${size} at ${offset} would end behind that`;
    const last = `Its last place for one is at ${(places - 1) * form.bytes}.`;
    throw wrong(message, places === 0 ? 'Name a larger device, or a file.' : last);
  }
}

/** Throws `IN_USE` if the area would reach into another one, into one that somebody has, or over data of anything else. */
async function requireFree(
  area: LeaseArea,
  form: AreaForm,
  head: AreaHead | undefined,
  force: boolean,
): Promise<void> {
  const { path, offset } = area;
  const before = Math.max(0, offset - (offset % areaBytesMax));
  const around = (await areasFrom(path, before, offset)).find(([at, { bytes }]) => at + bytes > offset);
  if (around !== undefined) {
    const [at, found] = around;
    const message = `${path} has ${areaInWords(asArea(path, at, found))} at ${at}, which takes ${sizeInWords(found.bytes)}: ${offset} is within it`;
    throw new HoldfastError('IN_USE', message, {
      resource: path,
      retryable: false,
      remedy: `Name a multiple of ${found.bytes} as the offset.`,
    });
  }
  const own = head?.bytes ?? 0;
  if (own < form.bytes) {
    for (const [at, found] of await areasFrom(path, offset + Math.max(own, mebibyte), offset + form.bytes))
      refuseOthers(await describeArea(path, at, found), area, {}, force);
  }
  if (head === undefined && !force && hasData(path, offset, form.bytes)) {
    throw new HoldfastError('IN_USE', `${path} has other data at ${offset}, which is no lease of sanlock's`, {
      resource: path,
      retryable: false,
      remedy:
        'Name a file that is empty or missing, or say --force if what is there is of no use to anybody.',
    });
  }
}

const asArea = (path: string, offset: number, { kind, lockspace, name }: AreaHead): LeaseArea =>
  kind === 'lockspace' ? { lockspace, path, offset } : { lockspace, name, path, offset };

function isSame(found: FoundLeaseArea, { lockspace, name }: LeaseArea, asked: Partial<AreaForm>): boolean {
  return found.lockspace === lockspace && found.name === name && hasForm(found, asked);
}

const hasForm = (found: AreaForm, asked: Partial<AreaForm>): boolean =>
  (asked.sectorBytes ?? found.sectorBytes) === found.sectorBytes &&
  (asked.bytes ?? found.bytes) === found.bytes;

function refuseOthers(
  found: FoundLeaseArea,
  wanted: LeaseArea,
  asked: Partial<AreaForm>,
  force: boolean,
): void {
  const what = areaInWords(found);
  const details = { resource: found.path, retryable: false };
  if (!force) {
    throw new HoldfastError(
      'IN_USE',
      hasForm(found, asked)
        ? `${found.path} has ${what} at ${found.offset}, not ${areaInWords(wanted)}`
        : `${found.path} has ${what} at ${found.offset}, with ${formInWords(found)}, not ${formInWords({ ...found, ...asked })}`,
      {
        ...details,
        remedy: 'Name another place, or say --force if nobody needs that one any more.',
      },
    );
  }
  const holders = found.hosts.filter(({ state }) => state !== 'dead' && state !== 'gone');
  if (holders.length === 0) return;
  const who = holders.map(hostInWords).join(', ');
  const message =
    found.name === undefined
      ? `${what} in ${found.path} has hosts in it: ${who}`
      : `${what} in ${found.path} is held by ${who}`;
  const unknown = holders.some(({ state }) => state === 'unknown');
  throw new HoldfastError('IN_USE', message, {
    ...details,
    remedy: unknown
      ? `Whether they live cannot be seen, because this host has not joined the lockspace ${found.lockspace}: join it, and ask again after some minutes.`
      : 'Let its holder end, or its hosts leave it (sanlock client rem_lockspace).',
  });
}

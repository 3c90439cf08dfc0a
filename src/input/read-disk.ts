/**
 * Reads a `<disk>`: the disk itself, what the XML says is below it, and the copy that a block job writes.
 * Modes are those that libvirt locks with; what libvirt leaves alone (read-only disks) is asked for as `read`.
 */
import type { AskedMode, DiskDescription, Role } from '../vocabulary.js';
import { inputError } from './input-error.js';
import { readSource, type ReadSource } from './read-source.js';
import { child, type XmlElement } from './xml-tree.js';

const devices: readonly string[] = ['disk', 'cdrom', 'floppy', 'lun'];

/**
 * Gives the disk, then its mirror, if a block job is copying it.
 * @throws HoldfastError BAD_DATA, NO_SOURCE, RELATIVE_PATH
 */
export function readDisk(disk: XmlElement): DiskDescription[] {
  const target = child(disk, 'target')?.attributes['dev'];
  const subject = target === undefined ? 'a disk' : `disk ${target}`;
  const device = disk.attributes['device'] ?? 'disk';
  if (!devices.includes(device)) {
    throw inputError('BAD_DATA', disk.place, `${subject} is a "${device}", which libvirt does not have`, {
      remedy: `Devices are ${devices.join(', ')}.`,
    });
  }
  const named = { place: disk.place, ...(target === undefined ? {} : { target }) };
  const sourceElement = child(disk, 'source');
  const read = readSource(disk, sourceElement, subject);
  const { mode, note } = readMode(disk, device, sourceElement);

  if (read === undefined) {
    if (device !== 'cdrom' && device !== 'floppy') throw noSource(disk, subject);
    const empty = { role: 'disk', source: { type: 'none' }, skip: 'an empty drive' } as const;
    return [{ ...named, ...empty, label: target ?? device, mode, optional: false }];
  }
  const driver = child(disk, 'driver')?.attributes;
  const described: DiskDescription = {
    ...named,
    role: 'disk',
    label: read.label,
    source: read.source,
    mode,
    optional: sourceElement?.attributes['startupPolicy'] === 'optional',
    ...formatOf(driver?.['type']),
    ...(driver?.['cache'] === undefined ? {} : { cache: driver['cache'] }),
    ...backingOf(disk, subject),
    ...dataStoreOf(sourceElement, subject, mode),
    ...(note === undefined ? {} : { note }),
  };
  const mirror = child(disk, 'mirror');
  return mirror === undefined ? [described] : [described, readMirror(mirror, named, subject)];
}

/** `<readonly/>` wins over `<shareable/>`, as it does where libvirt asks for locks. */
function readMode(
  disk: XmlElement,
  device: string,
  source: XmlElement | undefined,
): { mode: AskedMode; note?: string } {
  if (device === 'cdrom' || child(disk, 'readonly') !== undefined) return { mode: 'read' };
  const transient = child(disk, 'transient');
  if (transient?.attributes['shareBacking'] === 'yes') {
    return { mode: 'read', note: 'transient with a shared base: libvirt writes to an overlay of its own' };
  }
  if (child(disk, 'shareable') !== undefined) return { mode: 'shared' };
  if (transient !== undefined) {
    return { mode: 'exclusive', note: 'transient: libvirt writes to an overlay of its own, and locks this' };
  }
  if (source !== undefined && child(source, 'slices') !== undefined) {
    return { mode: 'exclusive', note: 'the guest has a slice of it; all of it is locked' };
  }
  return { mode: 'exclusive' };
}

/** Block jobs: the old form has the path in `file=`, the new one a `<source>`. */
function readMirror(
  mirror: XmlElement,
  named: Pick<DiskDescription, 'target' | 'place'>,
  diskSubject: string,
): DiskDescription {
  const subject = `the mirror of ${diskSubject}`;
  const source = child(mirror, 'source');
  const file = mirror.attributes['file'];
  // libvirt writes both forms for a copy to a file; in the old one the element itself reads like a <source>.
  const read = readSource(mirror, source ?? (file === undefined ? undefined : mirror), subject);
  if (read === undefined) throw noSource(mirror, subject);
  return {
    ...named,
    ...describe('mirror', read, mirror, 'exclusive'),
    ...formatOf(child(mirror, 'format')?.attributes['type'] ?? mirror.attributes['format']),
    ...backingOf(mirror, subject),
    ...(mirror.attributes['job'] === 'active-commit'
      ? { note: 'an active commit: the job writes into a base of this disk' }
      : {}),
  };
}

/**
 * The chain that `<backingStore>` elements nest: each entry's own `backing` is what is below it in turn.
 * An empty element ends the chain (`[]`), none at all leaves it open (undefined).
 */
function backingOf(parent: XmlElement, subject: string): { backing?: readonly DiskDescription[] } {
  const store = child(parent, 'backingStore');
  if (store === undefined) return {};
  const source = child(store, 'source');
  if (source === undefined && store.attributes['type'] === undefined) return { backing: [] };
  const storeSubject = subject.startsWith('a backing store of ') ? subject : `a backing store of ${subject}`;
  const read = readSource(store, source, storeSubject);
  if (read === undefined) throw noSource(store, storeSubject);
  const below = backingOf(store, storeSubject);
  const base: DiskDescription = {
    ...describe('base', read, store, 'read'),
    ...formatOf(child(store, 'format')?.attributes['type']),
    ...below,
  };
  return { backing: [base, ...(below.backing ?? [])] };
}

/** A file of its own for the data of an image (libvirt: formatdomain, `<dataStore>`). */
function dataStoreOf(
  source: XmlElement | undefined,
  diskSubject: string,
  mode: AskedMode,
): { dataStore?: DiskDescription } {
  const store = source === undefined ? undefined : child(source, 'dataStore');
  if (store === undefined) return {};
  const subject = `the data store of ${diskSubject}`;
  const read = readSource(store, child(store, 'source'), subject);
  if (read === undefined) throw noSource(store, subject);
  const format = formatOf(child(store, 'format')?.attributes['type']);
  return { dataStore: { ...describe('disk', read, store, mode), ...format } };
}

function describe(
  role: Role,
  { source, label }: ReadSource,
  { place }: XmlElement,
  mode: AskedMode,
): DiskDescription {
  return { role, label, source, place, mode, optional: false };
}

function formatOf(format: string | undefined): { format?: string } {
  return format === undefined || format === '' ? {} : { format };
}

function noSource(element: XmlElement, subject: string): Error {
  return inputError('NO_SOURCE', element.place, `${subject} has no source`);
}

/** Reads what `<os>` has of files that the guest's firmware writes (libvirt: formatdomain, "BIOS bootloader"). */
import type { DiskDescription } from '../vocabulary.js';
import { absolutePath, readSource } from './read-source.js';
import { child, type XmlElement } from './xml-tree.js';

/**
 * Gives the loader, the variable store and the NVRAM of one `<os>`, as far as they are there.
 * @throws HoldfastError BAD_DATA, NO_SOURCE, RELATIVE_PATH
 */
export function readFirmware(os: XmlElement): DiskDescription[] {
  return [
    readLoader(child(os, 'loader')),
    readNvram(child(os, 'nvram')),
    readVarstore(child(os, 'varstore')),
  ].filter((one) => one !== undefined);
}

function readLoader(loader: XmlElement | undefined): DiskDescription | undefined {
  // Without a path libvirt chooses the firmware, and then it is one of the host's read-only ones.
  if (loader === undefined || loader.text === '') return undefined;
  const path = absolutePath(loader.text, loader, 'the loader');
  const { type, readonly, format } = loader.attributes;
  // libvirt hands a flash image to QEMU for writing unless the XML says otherwise; a ROM is only ever read.
  const written = type === 'pflash' && readonly !== 'yes';
  return {
    role: 'loader',
    label: path,
    place: loader.place,
    source: { type: 'file', path },
    mode: written ? 'exclusive' : 'read',
    optional: false,
    ...(format === undefined ? {} : { format }),
    ...(written ? {} : { skip: 'read-only firmware, which guests have in common' }),
  };
}

function readNvram(nvram: XmlElement | undefined): DiskDescription | undefined {
  if (nvram === undefined) return undefined;
  const source = child(nvram, 'source');
  const written = { role: 'nvram', place: nvram.place, mode: 'exclusive', optional: true } as const;
  const { format } = nvram.attributes;
  const known = format === undefined ? {} : { format };
  const read = source === undefined ? undefined : readSource(nvram, source, 'the NVRAM');
  if (read !== undefined) return { ...written, ...known, ...read };
  if (nvram.text.trim() === '') {
    // Its default place is named after the guest, whose uuid is locked.
    return { ...written, label: '<nvram>', source: { type: 'none' }, skip: 'libvirt chooses its path' };
  }
  const path = absolutePath(nvram.text, nvram, 'the NVRAM');
  return { ...written, ...known, label: path, source: { type: 'file', path } };
}

function readVarstore(store: XmlElement | undefined): DiskDescription | undefined {
  const path = store?.attributes['path'];
  if (store === undefined || path === undefined || path === '') return undefined;
  return {
    role: 'nvram',
    label: path,
    place: store.place,
    source: { type: 'file', path: absolutePath(path, store, 'the variable store') },
    mode: 'exclusive',
    optional: true,
  };
}

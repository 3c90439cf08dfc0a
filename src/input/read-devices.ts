/** Reads the devices that are no disks and yet keep something on the host's storage. */
import type { DiskDescription } from '../vocabulary.js';
import { absolutePath, readSource } from './read-source.js';
import { child, type XmlElement } from './xml-tree.js';

type Reader = (device: XmlElement) => DiskDescription | undefined;

/** By element name; what is not here keeps nothing, or (logs, sockets) nothing that a lock would protect. */
const readers: ReadonlyMap<string, Reader> = new Map([
  ['tpm', readTpm],
  ['filesystem', readFilesystem],
  ['pstore', readPstore],
  ['memory', readMemory],
  ['hostdev', readHostDevice],
]);

/** Whether an element can stand for something on the host's storage. */
export function isStorageDevice(name: string): boolean {
  return name === 'disk' || name === 'lease' || readers.has(name);
}

/**
 * Reads one child of `<devices>` other than `<disk>` and `<lease>`.
 * @throws HoldfastError RELATIVE_PATH
 */
export function readDevice(device: XmlElement): DiskDescription | undefined {
  return readers.get(device.name)?.(device);
}

function skipped(
  role: DiskDescription['role'],
  device: XmlElement,
  label: string,
  skip: string,
): DiskDescription {
  const { place } = device;
  return { role, label, place, source: { type: 'none' }, mode: 'exclusive', optional: false, skip };
}

function readTpm(tpm: XmlElement): DiskDescription | undefined {
  const backend = child(tpm, 'backend');
  const source = backend && child(backend, 'source');
  const path = source?.attributes['path'];
  switch (backend?.attributes['type']) {
    case 'passthrough': {
      const device = child(backend, 'device')?.attributes['path'] ?? '/dev/tpm0';
      return skipped('tpm', tpm, device, "the host's TPM: the kernel opens it only once");
    }
    case 'external':
      return skipped(
        'tpm',
        tpm,
        path ?? '<tpm>',
        'the state is kept by a program that libvirt does not start',
      );
    case 'emulator': {
      if (source === undefined || path === undefined || path === '') {
        return skipped('tpm', tpm, '<tpm>', "libvirt keeps it under the guest's uuid, which is locked");
      }
      return {
        role: 'tpm',
        label: path,
        place: tpm.place,
        source: {
          type: source.attributes['type'] === 'dir' ? 'dir' : 'file',
          path: absolutePath(path, source, 'the TPM'),
        },
        mode: 'exclusive',
        // swtpm_setup makes it at the guest's first start.
        optional: true,
      };
    }
    default:
      return undefined;
  }
}

function readFilesystem(filesystem: XmlElement): DiskDescription | undefined {
  const { type = 'mount' } = filesystem.attributes;
  const target = child(filesystem, 'target')?.attributes['dir'];
  const source = child(filesystem, 'source');
  if (type === 'file' || type === 'block') {
    const subject = `the file system ${target ?? ''}`.trimEnd();
    const read = readSource(filesystem, source, subject);
    if (read === undefined) return undefined;
    return {
      ...read,
      role: 'filesystem',
      place: filesystem.place,
      mode: child(filesystem, 'readonly') === undefined ? 'exclusive' : 'read',
      optional: false,
      ...(target === undefined ? {} : { target }),
    };
  }
  const { dir, name, pool, volume, socket } = source?.attributes ?? {};
  const label = dir ?? name ?? (pool === undefined ? socket : `${pool}/${volume ?? ''}`) ?? '<filesystem>';
  return skipped(
    'filesystem',
    filesystem,
    label,
    type === 'ram' ? 'it is in memory' : "a shared directory: the host's file system keeps order in it",
  );
}

function readPstore(pstore: XmlElement): DiskDescription | undefined {
  const element = child(pstore, 'path');
  if (element === undefined || element.text === '') return undefined;
  const path = absolutePath(element.text, element, 'the pstore');
  // QEMU makes the file if it is not there.
  const written = { mode: 'exclusive', optional: true } as const;
  return { role: 'pstore', label: path, place: pstore.place, source: { type: 'file', path }, ...written };
}

function readMemory(memory: XmlElement): DiskDescription | undefined {
  const { model, access } = memory.attributes;
  if (model !== 'nvdimm' && model !== 'virtio-pmem') return undefined;
  const source = child(memory, 'source');
  const element = source && child(source, 'path');
  if (element === undefined || element.text === '') return undefined;
  const path = absolutePath(element.text, element, `the ${model} memory`);
  const target = child(memory, 'target');
  const readOnly = target !== undefined && child(target, 'readonly') !== undefined;
  // A private mapping never reaches the file (mmap(2), MAP_PRIVATE).
  const written = !readOnly && access !== 'private';
  return {
    role: 'memory',
    label: path,
    place: memory.place,
    // A DAX character device or a file in a DAX file system, which a kernel lock does for both.
    source: { type: 'file', path },
    mode: written ? 'exclusive' : 'read',
    optional: written,
    ...(written || readOnly ? {} : { note: 'mapped privately: the guest writes to a copy' }),
  };
}

/** Storage of the host that is handed through; libvirt takes no lock on it, and neither is it named by a path. */
function readHostDevice(hostdev: XmlElement): DiskDescription | undefined {
  const { mode, type } = hostdev.attributes;
  const source = child(hostdev, 'source');
  if (source === undefined) return undefined;
  if (mode === 'capabilities' && type === 'storage') {
    const element = child(source, 'block');
    if (element === undefined) return undefined;
    const path = absolutePath(element.text, element, 'a host device');
    const { place } = hostdev;
    return {
      role: 'disk',
      label: path,
      place,
      source: { type: 'block', path },
      mode: 'exclusive',
      optional: false,
    };
  }
  if (type !== 'scsi' && type !== 'scsi_host') return undefined;
  const adapter = child(source, 'adapter')?.attributes['name'];
  const { bus = '0', target = '0', unit = '0' } = child(source, 'address')?.attributes ?? {};
  const { name, wwpn } = source.attributes;
  const label = name ?? wwpn ?? `${adapter ?? 'scsi'}:${bus}:${target}:${unit}`;
  return skipped('disk', hostdev, label, 'a SCSI device of the host, handed through: no lock protects it');
}

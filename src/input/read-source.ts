/** Reads a `<source>` (libvirt: formatdomain, "Hard drives, floppy disks, CDROMs"), by the type beside it. */
import type { Source } from '../vocabulary.js';
import { inputError } from './input-error.js';
import { child, children, type XmlElement } from './xml-tree.js';

export interface ReadSource {
  readonly source: Source;
  readonly label: string;
}

/** `subject` says whose source it is: `disk vda`. Undefined: the element names nothing. */
type Reader = (element: XmlElement, subject: string) => ReadSource | undefined;

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['file', (element, subject) => readPath('file', element, element.attributes['file'], subject)],
  ['block', (element, subject) => readPath('block', element, element.attributes['dev'], subject)],
  ['dir', (element, subject) => readPath('dir', element, element.attributes['dir'], subject)],
  ['network', readNetwork],
  ['volume', readVolume],
  ['nvme', readNvme],
  ['vhostuser', (element, subject) => readPath('vhostuser', element, element.attributes['path'], subject)],
  // A vhost-vdpa device is a disk that some other program serves, as a vhost-user socket is.
  ['vhostvdpa', (element, subject) => readPath('vhostuser', element, element.attributes['dev'], subject)],
]);

/**
 * Reads the source of something whose `type` attribute is given.
 * @param typed the element that has the `type` attribute; without it the type is `file`
 * @param element the `<source>`, if there is one
 * @returns undefined if there is no source: an empty drive, or a fault that the caller names
 * @throws HoldfastError BAD_DATA, NO_SOURCE, RELATIVE_PATH
 */
export function readSource(
  typed: XmlElement,
  element: XmlElement | undefined,
  subject: string,
): ReadSource | undefined {
  const type = typed.attributes['type'] ?? 'file';
  const reader = readers.get(type);
  if (reader === undefined) {
    throw inputError(
      'BAD_DATA',
      typed.place,
      `${subject} is of type "${type}", which libvirt does not have`,
      {
        remedy: `Types are ${[...readers.keys()].join(', ')}.`,
      },
    );
  }
  return element === undefined ? undefined : reader(element, subject);
}

/**
 * Checks a path from the XML. libvirt trims no path, so neither is it done here.
 * @throws HoldfastError RELATIVE_PATH
 */
export function absolutePath(path: string, element: XmlElement, subject: string): string {
  if (path.startsWith('/')) return path;
  throw inputError('RELATIVE_PATH', element.place, `the path "${path}" of ${subject} is not absolute`, {
    resource: path,
  });
}

function readPath(
  type: 'file' | 'block' | 'dir' | 'vhostuser',
  element: XmlElement,
  path: string | undefined,
  subject: string,
): ReadSource | undefined {
  // libvirt takes an empty path for no path: programs write it for a drive without a medium.
  if (path === undefined || path === '') return undefined;
  return { source: { type, path: absolutePath(path, element, subject) }, label: path };
}

function readVolume(element: XmlElement, subject: string): ReadSource | undefined {
  const { pool = '', volume = '' } = element.attributes;
  if (pool === '' && volume === '') return undefined;
  if (pool === '' || volume === '') {
    const missing = pool === '' ? 'pool' : 'volume';
    throw inputError('NO_SOURCE', element.place, `the volume source of ${subject} has no ${missing}`);
  }
  return { source: { type: 'volume', pool, volume }, label: `${pool}/${volume}` };
}

function readNetwork(element: XmlElement, subject: string): ReadSource | undefined {
  const { protocol = '', name = '' } = element.attributes;
  if (protocol === '') return undefined;
  // Only an NBD server has an export without a name.
  if (name === '' && protocol !== 'nbd') {
    throw inputError('NO_SOURCE', element.place, `the ${protocol} source of ${subject} has no name`);
  }
  const hosts = children(element, 'host').map((host) => readHost(host, subject));
  const full = `${name}${snapshotOf(element)}${queryOf(element)}`;
  return {
    source: { type: 'network', protocol, name: full, hosts },
    label: hosts.length === 0 ? `${protocol}:${full}` : `${protocol}://${hosts.join(',')}/${full}`,
  };
}

/** A snapshot of an image in Ceph is another disk than the image: it never changes. */
function snapshotOf(source: XmlElement): string {
  const name = child(source, 'snapshot')?.attributes['name'] ?? '';
  return name === '' ? '' : `@${name}`;
}

/** What a web server gives for another query is another disk. */
function queryOf(source: XmlElement): string {
  const { query = '' } = source.attributes;
  return query === '' ? '' : `?${query}`;
}

function readHost(host: XmlElement, subject: string): string {
  const { transport, name, port, socket } = host.attributes;
  if (transport === 'unix') {
    if (socket === undefined || socket === '') {
      throw inputError('NO_SOURCE', host.place, `a host of ${subject} has no socket`);
    }
    return absolutePath(socket, host, subject);
  }
  if (name === undefined || name === '') {
    throw inputError('NO_SOURCE', host.place, `a host of ${subject} has no name`);
  }
  if (port === undefined) return name;
  // An IPv6 address has colons of its own.
  return name.includes(':') ? `[${name}]:${port}` : `${name}:${port}`;
}

const pciFields = [
  { name: 'domain', max: 0xffff, digits: 4 },
  { name: 'bus', max: 0xff, digits: 2 },
  { name: 'slot', max: 0x1f, digits: 2 },
  { name: 'function', max: 7, digits: 1 },
] as const;

function readNvme(element: XmlElement, subject: string): ReadSource | undefined {
  const addressElement = child(element, 'address');
  if (addressElement === undefined) return undefined;
  const [domain, bus, slot, func] = pciFields.map(({ name, max, digits }) => {
    const value = wholeNumber(addressElement.attributes[name] ?? '0');
    if (value === undefined || value > max) {
      throw inputError('BAD_DATA', addressElement.place, `the PCI ${name} of ${subject} is no such number`);
    }
    return value.toString(16).padStart(digits, '0');
  });
  const namespace = wholeNumber(element.attributes['namespace'] ?? '');
  // Namespaces are numbered from 1 (NVM Express, "Namespace Identifier").
  if (namespace === undefined || namespace < 1 || namespace > 0xffff_ffff) {
    throw inputError('BAD_DATA', element.place, `the NVMe source of ${subject} has no namespace number`);
  }
  const address = `${domain}:${bus}:${slot}.${func}`;
  return { source: { type: 'nvme', address, namespace }, label: `nvme:${address}/${namespace}` };
}

/** A whole number, decimal or with 0x, or undefined. */
function wholeNumber(text: string): number | undefined {
  return /^(?:0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text) ? Number(text) : undefined;
}

/** Reads a domain's XML into a description of the guest. Nothing outside the XML is looked at. */
import { randomUuid } from '../system/random.js';
import type {
  DiskDescription,
  GuestDescription,
  LeaseDescription,
  LossAction,
  OwnerDescription,
} from '../vocabulary.js';
import { unnamedCommand } from '../vocabulary.js';
import { inputError } from './input-error.js';
import { isStorageDevice, readDevice } from './read-devices.js';
import { readDisk } from './read-disk.js';
import { readFirmware } from './read-firmware.js';
import { readLease } from './read-lease.js';
import { normaliseUuid } from './uuid.js';
import { child, children, parseXml, type XmlElement } from './xml-tree.js';

const lossActions: readonly LossAction[] = ['poweroff', 'restart', 'pause', 'ignore'];

export interface ReadDomainOptions {
  /** What messages call the document. */
  readonly file?: string;
  /** The document may also be a single device, as `virsh attach-device` takes it: a guest without a name of its own. */
  readonly orDevice?: boolean;
}

/**
 * Reads the XML of one domain, as `virsh dumpxml` prints it.
 * @param xml the document; a byte order mark before it is no matter
 * @returns the guest with its disks in the order written, then the other things that it writes
 * @throws HoldfastError XML_SYNTAX, XML_FORBIDDEN, XML_LIMIT, NOT_A_DOMAIN, BAD_DATA, BAD_UUID, NO_SOURCE,
 *   RELATIVE_PATH, each with its place
 */
export function readDomainXml(xml: string, options: ReadDomainOptions = {}): GuestDescription {
  const domain = parseXml(xml, options.file ?? 'XML');
  if (options.orDevice === true && isStorageDevice(domain.name)) {
    const owner = { kind: 'command', name: unnamedCommand, uuid: randomUuid() } as const;
    return { owner, ...readDevices([domain]) };
  }
  requireDomain(domain, options.orDevice === true);
  const onLockFailure = readLossAction(domain);
  const firmware = children(domain, 'os').flatMap(readFirmware);
  const { disks, leases } = readDevices(
    children(domain, 'devices').flatMap((devices) => devices.children),
    firmware,
  );
  return {
    owner: readOwner(domain),
    disks,
    leases,
    ...(onLockFailure === undefined ? {} : { onLockFailure }),
  };
}

function requireDomain(root: XmlElement, orDevice: boolean): void {
  const namespace = root.attributes['xmlns'];
  if (root.name === 'domain' && (namespace ?? '') === '') return;
  const other = root.name === 'domain' ? `<domain xmlns="${namespace}">` : `<${root.name}>`;
  const wanted = orDevice ? 'neither a device with storage nor' : 'not';
  throw inputError('NOT_A_DOMAIN', root.place, `the XML is ${other}, ${wanted} the <domain> of libvirt`);
}

/** Disks in the order written, then what else is written: `before`, and other devices. */
function readDevices(
  devices: readonly XmlElement[],
  before: readonly DiskDescription[] = [],
): Pick<GuestDescription, 'disks' | 'leases'> {
  const disks: DiskDescription[] = [];
  const others = [...before];
  const leases: LeaseDescription[] = [];
  for (const device of devices) {
    if (device.name === 'disk') disks.push(...readDisk(device));
    else if (device.name === 'lease') leases.push(readLease(device));
    else {
      const other = readDevice(device);
      if (other !== undefined) others.push(other);
    }
  }
  return { disks: [...disks, ...others], leases };
}

function readOwner(domain: XmlElement): OwnerDescription {
  const name = child(domain, 'name')?.text ?? '';
  if (name === '') throw inputError('BAD_DATA', domain.place, 'the domain has no <name>');
  const id = readId(domain);
  return { kind: 'domain', name, uuid: readUuid(domain), ...(id === undefined ? {} : { id }) };
}

/** libvirt makes an uuid up for a domain that has none; a made-up one keeps nobody from starting it twice. */
function readUuid(domain: XmlElement): string {
  const element = child(domain, 'uuid');
  if (element === undefined) return randomUuid();
  const uuid = normaliseUuid(element.text);
  if (uuid !== undefined) return uuid;
  throw inputError('BAD_UUID', element.place, `"${element.text}" is not an uuid`);
}

/** libvirt's number of a running domain; -1 is its way to say that it does not run. */
function readId(domain: XmlElement): number | undefined {
  const { id } = domain.attributes;
  if (id === undefined || id === '-1') return undefined;
  if (/^\d{1,10}$/.test(id)) return Number(id);
  throw inputError('BAD_DATA', domain.place, `the domain's id "${id}" is not a whole number`);
}

function readLossAction(domain: XmlElement): LossAction | undefined {
  const element = child(domain, 'on_lockfailure');
  if (element === undefined) return undefined;
  const action = lossActions.find((one) => one === element.text);
  if (action !== undefined) return action;
  throw inputError('BAD_DATA', element.place, `on_lockfailure is "${element.text}"`, {
    remedy: `It is one of ${lossActions.join(', ')}.`,
  });
}

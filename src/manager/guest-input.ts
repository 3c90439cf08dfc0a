/** What a caller may give for a guest, and the one description that is made of it. */
import { basename } from 'node:path';
import { HoldfastError } from '../errors.js';
import { combineGuests } from '../input/combine-guests.js';
import { parseDiskArgument, parseLeaseArgument } from '../input/parse-arguments.js';
import type {
  AskedMode,
  DiskDescription,
  GuestDescription,
  LeaseDescription,
  LockRequest,
  OwnerDescription,
} from '../vocabulary.js';

/** A domain that libvirt knows. */
export interface LibvirtDomain {
  /** `qemu:///system`; without it, libvirt's own default. */
  readonly connect?: string;
  /** Name or uuid. */
  readonly name: string;
}

/** A disk by its path. */
export interface DiskInput {
  /** Absolute, or relative to the current folder. */
  readonly path: string;
  /** Default: `exclusive`. */
  readonly mode?: AskedMode;
  /** `raw`, `qcow2`, ...; without it, nothing is assumed and no chain is looked for. */
  readonly format?: string;
}

/** Any of these, together. */
export interface GuestParts {
  /** A domain's XML, or several domains': the first is the owner. */
  readonly xml?: string | readonly string[];
  /** The file that `xml` came from, for messages. */
  readonly xmlFile?: string;
  /** A file with a domain's XML, or several; `-` is standard input. */
  readonly file?: string | readonly string[];
  readonly domain?: LibvirtDomain | readonly LibvirtDomain[];
  /** Which libvirt resolves the volumes of `xml`; default: that of `domain`, else libvirt's own default. */
  readonly connect?: string;
  /** A string is `PATH[:exclusive|shared|read|peek]`, as for `--disk`. */
  readonly disks?: readonly (string | DiskInput)[];
  /** A string is `LOCKSPACE:KEY[:PATH[:OFFSET]]`, as for `--lease`. */
  readonly leases?: readonly (string | LeaseDescription)[];
  /** Who asks, where there is no domain. Default: the name of this program. */
  readonly name?: string;
  /** Who asks, where the caller knows more than its name. */
  readonly owner?: { readonly uuid: string; readonly name: string; readonly id?: number };
}

/** What another manager has planned, to be locked here as it is: nothing is looked up, and nothing added. */
export interface PlannedRequests {
  readonly requests: readonly LockRequest[];
  readonly owner: OwnerDescription;
}

/** A domain's XML, a domain that libvirt knows, parts, or requests. */
export type GuestInput = string | LibvirtDomain | GuestParts | PlannedRequests;

const isDomain = (input: LibvirtDomain | GuestParts): input is LibvirtDomain =>
  typeof input.name === 'string' &&
  !['xml', 'file', 'domain', 'disks', 'leases', 'owner'].some((key) => key in input);

/**
 * The description of a guest. Throws what `input/` throws, and `USAGE` if there is nothing in it.
 * @param orDevice the XML may be that of a single device
 */
export async function describeGuest(
  input: GuestInput,
  signal?: AbortSignal,
  orDevice = false,
): Promise<GuestDescription> {
  if (typeof input === 'string') return describeGuest({ xml: input }, signal, orDevice);
  if (typeof input !== 'object' || input === null)
    throw wrongInput('what to lock must be XML, { connect, name } or an object of parts');
  if ('requests' in input) return { ...input, disks: [], leases: [] };
  if (isDomain(input)) return describeGuest({ domain: input }, signal);
  const { disks = [], leases = [], name, owner } = input;
  if (!Array.isArray(disks)) throw wrongInput('disks must be a list of paths or { path, mode, format }');
  if (!Array.isArray(leases)) throw wrongInput('leases must be a list');
  const connect = input.connect ?? list(input.domain)[0]?.connect;
  const asking = signal === undefined ? {} : { signal };
  const guests = await readDomains(input, asking, orDevice);
  if (guests.length + disks.length + leases.length === 0) {
    throw new HoldfastError('USAGE', 'there is nothing to lock: no XML, no domain, no disk, no lease');
  }
  const combined = combineGuests({
    xml: guests,
    disks: disks.map(describeDisk),
    leases: leases.map((lease) => (typeof lease === 'string' ? parseLeaseArgument(lease) : lease)),
    name: name ?? basename(process.argv[1] ?? process.argv0),
  });
  const described =
    owner === undefined ? combined : { ...combined, owner: { kind: 'domain' as const, ...owner } };
  // Volumes stand in XML only: whoever names disks by path does not pay for the reader of XML, nor for virsh.
  if (guests.length === 0) return described;
  const { resolveVolumes } = await import('../input/read-input.js');
  return resolveVolumes(described, connect === undefined ? {} : { connect }, asking);
}

async function readDomains(
  { xml, xmlFile, file, domain }: GuestParts,
  asking: { readonly signal?: AbortSignal },
  orDevice: boolean,
): Promise<readonly GuestDescription[]> {
  if (list(xml).length + list(file).length + list(domain).length === 0) return [];
  const { readDomainXml, readDomainXmlFile, dumpDomain } = await import('../input/read-input.js');
  const guests: GuestDescription[] = [];
  for (const text of list(xml))
    guests.push(readDomainXml(text, { orDevice, ...(xmlFile === undefined ? {} : { file: xmlFile }) }));
  for (const path of list(file)) guests.push(await readDomainXmlFile(path, { orDevice }));
  for (const one of list(domain)) {
    guests.push(readDomainXml(await dumpDomain(one, asking), { file: `domain ${one.name}` }));
  }
  return guests;
}

function list<Item extends string | object>(given: Item | readonly Item[] | undefined): readonly Item[] {
  return given === undefined ? [] : Array.isArray(given) ? (given as readonly Item[]) : [given as Item];
}

function describeDisk(disk: string | DiskInput): DiskDescription {
  if (typeof disk === 'string') return parseDiskArgument(disk);
  if (typeof disk?.path !== 'string') throw wrongInput('a disk must be a path, or an object with a path');
  const { path, mode = 'exclusive', format } = disk;
  if (path === '') throw wrongInput('the path of a disk is empty');
  if (!askedModes.includes(mode)) {
    throw wrongInput(`the mode of ${path} must be one of ${askedModes.join(', ')}, but is ${mode}`);
  }
  // Through the one reader of disk arguments; a mode is always written, so a colon in the path is no danger.
  return parseDiskArgument(`${path}:${mode}${format === undefined ? '' : `:format=${format}`}`);
}

const askedModes: readonly AskedMode[] = ['exclusive', 'shared', 'read', 'peek'];

/** For callers without types. */
function wrongInput(message: string): HoldfastError {
  return new HoldfastError('USAGE', message, { remedy: 'See docs/library.md.' });
}

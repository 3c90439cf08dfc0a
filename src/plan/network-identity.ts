/** The identity of storage that is reached without a file of this host. */
import type { Resource, Source } from '../vocabulary.js';
import { escaped } from './escaped.js';
import type { Surroundings } from './surroundings.js';

type NetworkSource = Extract<Source, { type: 'network' }>;
type NvmeSource = Extract<Source, { type: 'nvme' }>;
type NetworkIdentity = Pick<Resource, 'identity' | 'scope'>;

/** Ports that go without saying, as libvirt documents them for each protocol. */
const defaultPorts: Readonly<Record<string, readonly string[]>> = {
  nbd: ['10809'],
  rbd: ['6789', '3300'],
  gluster: ['24007'],
  iscsi: ['3260'],
  sheepdog: ['7000'],
  vxhs: ['9999'],
  nfs: ['2049'],
  ssh: ['22'],
  http: ['80'],
  https: ['443'],
  ftp: ['21'],
  ftps: ['990'],
  tftp: ['69'],
};

const loopback = /^(localhost|127(\.\d+){3}|\[?::1\]?)(:\d+)?$/;

/** A host without the port that goes without saying. A unix socket's path stays as it is. */
function tidyHost(host: string, protocol: string): string {
  if (host.startsWith('/')) return host;
  const named = host.toLowerCase();
  // An IPv6 address has brackets only where a port follows.
  const lower = /^[^[]*:[^:]*:/.test(named) ? `[${named}]` : named;
  const match = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(lower);
  const isDefault = defaultPorts[protocol]?.includes(match?.[2] ?? '') ?? false;
  return isDefault ? (match?.[1] ?? lower) : lower;
}

/**
 * The name that the configuration gives to a Ceph cluster, known by monitors or by its id; '' if it gives none. One cluster
 * is reached by any of its monitors, or by none where ceph.conf names them, so they cannot tell two clusters apart.
 */
export function cephCluster(knownBy: readonly string[], aliases: ReadonlyMap<string, string>): string {
  for (const [names, cluster] of aliases) {
    if (knownBy.includes(cluster) || names.split(',').some((name) => knownBy.includes(name))) return cluster;
  }
  return '';
}

/** An image of Ceph, the same through the kernel, QEMU or another cluster's monitors. The pool that goes without saying is `rbd`. */
export function rbdIdentity(cluster: string, image: string): NetworkIdentity {
  const path = image.includes('/') ? image : `rbd/${image}`;
  return { identity: `net:rbd:${escaped(cluster)}:${escaped(path)}`, scope: 'cluster' };
}

/**
 * `net:PROTOCOL:HOSTS:NAME`, hosts in lower case, sorted, without default ports. A socket of this host or its
 * loopback address means another server on each host, so the host's id stands before it.
 */
export function networkIdentity(
  source: NetworkSource,
  { hostId, aliases }: Pick<Surroundings, 'hostId' | 'aliases'>,
): NetworkIdentity {
  const protocol = source.protocol.toLowerCase();
  const plain = source.hosts.map((host) => tidyHost(host, protocol));
  const tidy = plain.map((host) => aliases.get(host) ?? host).toSorted();
  const list = [...new Set(tidy)].join(',');
  if (protocol === 'rbd') return rbdIdentity(cephCluster([...plain, ...tidy, list], aliases), source.name);
  const name = escaped(plainName(protocol, source.name));
  // An iSCSI target's name is unique in the world (RFC 3720, 3.2.6), and it is reached through several portals.
  if (protocol === 'iscsi') return { identity: `net:iscsi::${name}`, scope: 'cluster' };
  const hosts = aliases.get(list) ?? list;
  const ours = hosts === list && tidy.some((host) => host.startsWith('/') || loopback.test(host));
  return ours
    ? { identity: `net:${protocol}:${hostId}:${hosts}:${name}`, scope: 'host' }
    : { identity: `net:${protocol}:${hosts}:${name}`, scope: 'cluster' };
}

/** A name in the one way of writing it that counts. */
function plainName(protocol: string, name: string): string {
  if (protocol === 'gluster') return name.replace(/\/+/g, '/').replace(/^\//, '');
  if (protocol !== 'iscsi') return name;
  // Names of targets have no case (RFC 3722); libvirt takes unit 0 where none is named.
  const [target = '', unit = '0'] = name.split('/');
  return `${target.toLowerCase()}/${/^\d+$/.test(unit) ? String(BigInt(unit)) : unit}`;
}

/** A namespace of an NVMe controller that the guest drives itself, by its PCI address on this host. */
export function nvmeIdentity(source: NvmeSource, hostId: string): NetworkIdentity {
  return { identity: `nvme:${hostId}:${source.address.toLowerCase()}:${source.namespace}`, scope: 'host' };
}

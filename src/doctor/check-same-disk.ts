/** Whether two of the paths are one disk, or one is a part of the other. */
import { statSync } from 'node:fs';
import { Identities } from '../plan/identities.js';
import type { Surroundings } from '../plan/surroundings.js';
import type { Resource } from '../vocabulary.js';
import { finding, type Finding } from './finding.js';
import type { Disk } from './host.js';

export function checkSameDisk(disks: readonly Disk[], surroundings: Surroundings): Finding[] {
  const identities = new Identities(surroundings);
  return disks.flatMap((disk, index) => [
    ...disks.slice(0, index).flatMap((other) => comparePair(other, disk, identities)),
    ...moreNames(disk, disks),
  ]);
}

function comparePair(one: Disk, two: Disk, identities: Identities): Finding[] {
  const subject = `${one.label} and ${two.label}`;
  const { identity } = one.resource;
  if (identity === two.resource.identity) {
    // The same path given twice says nothing of the host.
    if (one.seen.path === two.seen.path) return [];
    return [
      finding('same-disk', {
        subject,
        what: `they are one disk${way(one, two)}`,
        evidence: [identity, `${one.label} -> ${one.seen.realPath}`, `${two.label} -> ${two.seen.realPath}`],
      }),
    ];
  }
  return [
    ...partOf(one, two, subject, identities),
    ...partOf(two, one, subject, identities),
    ...inFolder(one, two, subject),
    ...inFolder(two, one, subject),
  ];
}

function way(one: Disk, two: Disk): string {
  if (one.seen.realPath === two.seen.realPath) return ': a symlink leads from one to the other';
  if (one.seen.inode.dev !== two.seen.inode.dev) return ': two mounts or nodes of one storage';
  return ': a hard link, or a bind mount';
}

function partOf(inner: Disk, outer: Disk, subject: string, identities: Identities): Finding[] {
  const { resources } = identities.ancestorsOf(inner.resource);
  const found = resources.find(({ identity }: Resource) => identity === outer.resource.identity);
  if (found === undefined) return [];
  const what = `${inner.label} is a part of ${outer.label}, or stands on it`;
  return [
    finding('part-of-disk', { subject, what, evidence: [inner.resource.identity, outer.resource.identity] }),
  ];
}

/** A directory that a guest is given as a disk has all in it. */
function inFolder(inner: Disk, outer: Disk, subject: string): Finding[] {
  if (outer.seen.storage !== 'directory' || !inner.seen.realPath.startsWith(`${outer.seen.realPath}/`)) {
    return [];
  }
  const what = `${inner.label} is in ${outer.label}`;
  return [finding('part-of-disk', { subject, what, evidence: [inner.seen.realPath, outer.seen.realPath] })];
}

/** Those that are among the paths are named by another finding. */
function moreNames({ label, seen, resource }: Disk, all: readonly Disk[]): Finding[] {
  if (seen.storage !== 'file') return [];
  const { nlink } = statSync(seen.realPath, { bigint: true });
  const given = all.filter((one) => one.resource.identity === resource.identity);
  if (nlink <= new Set(given.map((one) => one.seen.realPath)).size) return [];
  return [
    finding('more-names', {
      subject: label,
      what: `the file has ${nlink} names`,
      evidence: [`inode ${seen.inode.ino} on device ${seen.inode.dev}, ${nlink} links`],
    }),
  ];
}

/** Reads a `<lease>` (libvirt: formatdomain, "Device leases"). */
import type { LeaseDescription } from '../vocabulary.js';
import { inputError } from './input-error.js';
import { isLockName, lockNameRule, readLeaseOffset } from './lease-words.js';
import { absolutePath } from './read-source.js';
import { child, type XmlElement } from './xml-tree.js';

/** @throws HoldfastError BAD_DATA, RELATIVE_PATH */
export function readLease(lease: XmlElement): LeaseDescription {
  const lockspace = readName(lease, 'lockspace');
  const key = readName(lease, 'key');
  const target = child(lease, 'target');
  const path = target?.attributes['path'];
  const subject = `lease ${lockspace}:${key}`;
  return {
    label: `${lockspace}:${key}`,
    place: lease.place,
    lockspace,
    key,
    offset: readOffset(target, subject),
    ...(target === undefined || path === undefined ? {} : { path: absolutePath(path, target, subject) }),
  };
}

function readName(lease: XmlElement, what: 'lockspace' | 'key'): string {
  const element = child(lease, what);
  const text = element?.text ?? '';
  if (text === '') throw inputError('BAD_DATA', lease.place, `a lease has no <${what}>`);
  if (isLockName(text)) return text;
  throw inputError('BAD_DATA', (element ?? lease).place, `"${text}" cannot be the ${what} of a lease`, {
    remedy: lockNameRule,
  });
}

function readOffset(target: XmlElement | undefined, subject: string): number {
  const text = target?.attributes['offset'];
  if (target === undefined || text === undefined) return 0;
  const offset = readLeaseOffset(text);
  if (offset !== undefined) return offset;
  throw inputError('BAD_DATA', target.place, `the offset "${text}" of ${subject} is not a whole number`);
}

/** Reads what `--disk` and `--lease` are given. */
import { HoldfastError } from '../errors.js';
import { nearestWord } from '../nearest-word.js';
import type { AskedMode, DiskDescription, LeaseDescription } from '../vocabulary.js';
import { isLockName, leaseSizeRule, lockNameRule, readLeaseSize, splitLeasePlace } from './lease-words.js';

const askedModes: readonly AskedMode[] = ['exclusive', 'shared', 'read', 'peek'];
const diskForm = 'PATH[:exclusive|shared|read|peek][:format=FORMAT]';
/** The formats of QEMU 7.2 and of libvirt 9: a mistyped one would leave the base images unlocked. */
const formats = 'raw qcow2 qcow qed vmdk vdi vpc vhdx parallels dmg bochs cloop luks iso fat dir'.split(' ');
const leaseForm = 'LOCKSPACE:KEY[:PATH[:OFFSET]]';

/**
 * Reads `PATH[:MODE][:format=FORMAT]`, in this order. Other colons belong to the path; for a path that itself
 * ends in `:read` or `:format=raw`, write the mode behind it (`/a:read:exclusive`).
 * @param options.cwd what a relative path is relative to; the process's own without it
 * @returns a disk whose label is the path as written; the path is made absolute, but not otherwise tidied:
 *   `..` after a symlink leads where the kernel says
 * @throws HoldfastError USAGE
 */
export function parseDiskArgument(text: string, options: { cwd?: string } = {}): DiskDescription {
  const [, beforeFormat = text, format] = /^(.*):format=([^:/]*)$/s.exec(text) ?? [];
  if (format !== undefined && !formats.includes(format)) {
    const near = nearestWord(format, formats);
    const hint = near === undefined ? `It is one of ${formats.join(', ')}.` : `Did you mean ${near}?`;
    throw usage(`--disk "${text}": there is no format "${format}"`, diskForm, hint);
  }
  const mode = askedModes.find((one) => beforeFormat.endsWith(`:${one}`));
  const path = mode === undefined ? beforeFormat : beforeFormat.slice(0, -mode.length - 1);
  if (path === '') throw usage(`--disk "${text}": there is no path`, diskForm);
  if (path.includes('\0')) throw usage('--disk: a path with a zero byte', diskForm);
  return {
    role: 'disk',
    label: path,
    source: { type: 'file', path: absolute(path, options.cwd ?? process.cwd()) },
    mode: mode ?? 'exclusive',
    optional: false,
    ...(format === undefined ? {} : { format }),
  };
}

function absolute(path: string, cwd: string): string {
  if (path.startsWith('/')) return path;
  const tidy = path.replace(/^(?:\.\/+)+/, '') || '.';
  return cwd.endsWith('/') ? `${cwd}${tidy}` : `${cwd}/${tidy}`;
}

/**
 * Reads `LOCKSPACE:KEY[:PATH[:OFFSET]]`: PATH absolute, OFFSET in bytes or as `1M`. A path with a colon in it needs the
 * offset behind it (`ls:key:/a:b:0`), or a backslash before the colon.
 * @throws HoldfastError USAGE
 */
export function parseLeaseArgument(text: string): LeaseDescription {
  const [lockspace = '', key = '', ...rest] = splitLeasePlace(text);
  for (const [what, name] of [
    ['lockspace', lockspace],
    ['key', key],
  ]) {
    if (isLockName(name ?? '')) continue;
    throw usage(`--lease "${text}": "${name}" cannot be the ${what}`, leaseForm, lockNameRule);
  }
  const label = `${lockspace}:${key}`;
  if (rest.length === 0) return { label, lockspace, key, offset: 0 };
  const last = rest.length > 1 ? rest.pop() : undefined;
  const offset = last === undefined ? 0 : readLeaseSize(last);
  if (offset === undefined) {
    throw usage(`--lease "${text}": "${last}" is no offset`, leaseForm, leaseSizeRule);
  }
  const path = rest.join(':');
  if (!path.startsWith('/') || path.includes('\0')) {
    throw usage(`--lease "${text}": the path "${path}" is not absolute`, leaseForm);
  }
  return { label, lockspace, key, path, offset };
}

function usage(message: string, form: string, rule = ''): HoldfastError {
  return new HoldfastError('USAGE', message, { remedy: `Write ${form}. ${rule}`.trimEnd() });
}

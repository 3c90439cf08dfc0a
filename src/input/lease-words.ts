/** What can be said of a lease, in XML and on a command line; who does the latter loads no reader of XML. */
export const lockNameRule = 'It names a file, so it has no slash, is neither . nor .., and is not empty.';

/** Lockspaces and keys become names of files and folders; none may lead out of its lockspace. */
export function isLockName(text: string): boolean {
  return text !== '' && text !== '.' && text !== '..' && !/[/\0]/.test(text);
}

/** Bytes, or undefined: no whole number, or one too large to be exact. */
export function readLeaseOffset(text: string): number | undefined {
  if (!/^\d+$/.test(text)) return undefined;
  const offset = Number(text);
  return Number.isSafeInteger(offset) ? offset : undefined;
}

const unitShift: Readonly<Record<string, number>> = { '': 0, K: 10, M: 20, G: 30, T: 40 };
/** How an offset or size is written on a command line; sanlock itself knows M. */
export const leaseSizeRule =
  'OFFSET is a number of bytes, or one with K, M, G or T behind it (1M is 1048576); a colon in PATH is written \\:.';

/** Bytes of `1048576`, `1M` or `1MiB`, or undefined: no such number, or one too large to be exact. */
export function readLeaseSize(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d+)(?:([KMGT])(?:iB)?)?$/.exec(text) ?? [];
  const size = Number(digits) * 2 ** (unitShift[unit] ?? Number.NaN);
  return Number.isSafeInteger(size) ? size : undefined;
}

/** The parts of `LOCKSPACE:NAME:PATH:OFFSET`. A colon with a backslash belongs to its part, as in what sanlock writes and reads. */
export function splitLeasePlace(text: string): readonly string[] {
  return text.split(/(?<!\\):/).map((part) => part.replaceAll('\\:', ':'));
}

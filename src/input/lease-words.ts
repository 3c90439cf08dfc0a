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

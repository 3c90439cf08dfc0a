/**
 * What a process runs, read without holding up this one: its arguments stand in its own memory, and while that is being read in from
 * a storage which does not answer, so does whoever looks.
 */
import { readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseCommandLine } from './process.js';

/** Rejects where it cannot be seen; may take for ever. */
export async function processProgram(
  pid: number,
): Promise<{ readonly program: string; readonly argv: readonly string[] }> {
  const file = await readlink(`/proc/${pid}/exe`);
  const argv = parseCommandLine(await readFile(`/proc/${pid}/cmdline`));
  return { program: basename(file.replace(/ \(deleted\)$/, '')), argv };
}

/** Programs of tests, compiled as for a release: they start as fast, and threads are files of their own. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Compiles them into a folder below `folder`; gives it.
 * @param input by the name that the compiled one gets, without `.js`: the source, from the root of the tree
 * @param external packages that are loaded when the program runs
 */
export async function buildPrograms(
  folder: string,
  input: Readonly<Record<string, string>>,
  external: readonly string[],
): Promise<string> {
  const programs = join(folder, 'programs');
  mkdirSync(programs);
  const build = await rolldown({ cwd: root, platform: 'node', input: { ...input }, external: [...external] });
  await build.write({ dir: programs, format: 'esm', chunkFileNames: '[name]-[hash].js' });
  await build.close();
  writeFileSync(join(programs, 'package.json'), '{ "type": "module" }\n');
  symlinkSync(join(root, 'node_modules'), join(programs, 'node_modules'));
  return programs;
}

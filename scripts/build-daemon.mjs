/**
 * The daemon: ES modules with the npm packages inside, and its thread in a file of its own. Bundled, it is loaded in less
 * than half the time, which is time in which nobody answers after a crash; and what is installed asks for no newer Node.
 */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { root } from './set-up.mjs';

/** Writes `holdfastd.js`, `lockd-worker.js` and what both need. Gives the files that are in it. */
export async function buildDaemon(folder) {
  const build = await rolldown({
    cwd: root,
    platform: 'node',
    treeshake: true,
    input: {
      holdfastd: 'src/daemon/main.ts',
      'lockd-worker': 'src/daemon/lockd/lockd-worker.ts',
      'session-worker': 'src/drivers/etcd/session/session-worker.ts',
    },
    external: ['koffi'],
  });
  const { output } = await build.write({ dir: folder, format: 'esm', chunkFileNames: '[name]-[hash].js' });
  await build.close();
  chmodSync(join(folder, 'holdfastd.js'), 0o755);
  return output.flatMap(({ moduleIds = [] }) => moduleIds);
}

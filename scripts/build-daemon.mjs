/** The daemon: ES modules with the npm packages left outside, and its thread in a file of its own. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { root } from './set-up.mjs';

const packages = [
  '@fastify/swagger',
  '@sinclair/typebox',
  'fastify',
  'koffi',
  'pino',
  'prom-client',
  'saxes',
  'smol-toml',
];

/** Writes `holdfastd.js`, `lockd-worker.js` and what both need. */
export async function buildDaemon(folder) {
  const build = await rolldown({
    cwd: root,
    platform: 'node',
    treeshake: true,
    input: { holdfastd: 'src/daemon/main.ts', 'lockd-worker': 'src/daemon/lockd/lockd-worker.ts' },
    external: (id) => packages.some((name) => id === name || id.startsWith(`${name}/`)),
  });
  await build.write({ dir: folder, format: 'esm', chunkFileNames: '[name]-[hash].js' });
  await build.close();
  chmodSync(join(folder, 'holdfastd.js'), 0o755);
}

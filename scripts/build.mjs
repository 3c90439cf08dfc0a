/** `npm run build`: the command, the library and its types, all into dist/. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { node, root, run } from './set-up.mjs';

const dist = join(root, 'dist');
const command = join(dist, 'command/holdfast.cjs');

/**
 * Loads Node's heavier modules when they are first used, not when the file that imports them is: each of them
 * costs 2 to 3 ms, and most commands use none.
 */
const lazyBuiltins = {
  name: 'lazy-builtins',
  renderChunk(code) {
    let changed = code;
    const heavy =
      /^let (?<name>node_\w+(?:\$\d+)?) = require\("(?<module>node:(?:child_process|crypto|timers\/promises|tty))"\);\n/gm;
    for (const { 0: line, groups } of code.matchAll(heavy)) {
      const use = new RegExp(`\\b${groups.name.replace('$', '\\$')}\\.`, 'g');
      changed = changed.replace(line, '').replaceAll(use, `process.getBuiltinModule("${groups.module}").`);
    }
    return changed;
  },
};

async function bundle(input, output) {
  const build = await rolldown({ cwd: root, platform: 'node', treeshake: true, ...input });
  await build.write(output);
  await build.close();
}

rmSync(dist, { recursive: true, force: true });

// CommonJS: an ES module costs 6 ms more to start. What one command needs alone stays in a chunk of its own.
await bundle(
  { input: { holdfast: 'src/cli/main.ts' }, external: ['koffi'], plugins: [lazyBuiltins] },
  {
    dir: 'dist/command',
    format: 'cjs',
    entryFileNames: '[name].cjs',
    chunkFileNames: '[name]-[hash].cjs',
    comments: false,
  },
);
writeFileSync(
  command,
  readFileSync(join(root, 'scripts/launcher.sh'), 'utf8') + readFileSync(command, 'utf8'),
);
chmodSync(command, 0o755);

await bundle(
  {
    input: {
      index: 'src/index.ts',
      driver: 'src/driver/contract.ts',
      'driver-conformance': 'src/driver/conformance.ts',
      rfc2010: 'src/rfc2010/rfc2010.ts',
    },
    external: ['koffi', 'saxes', 'smol-toml'],
  },
  { dir: 'dist/library', format: 'esm', chunkFileNames: '[name]-[hash].js' },
);

run(node, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']);

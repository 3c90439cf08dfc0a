/**
 * What `npm start`, `npm test` and the checks need before they can begin: the right Node, the dependencies, a build.
 * Uses nothing but Node, because it runs on a fresh clone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * The Node that the user called npm with. `node` alone would be another one: two development dependencies carry
 * Node 22 and 24, and npm puts their `node` first in the PATH of scripts.
 */
export const node = process.env['npm_node_execpath'] ?? process.execPath;

/** The environment for what scripts start: `nodePath` is its `node`, and dependencies' programs are not in PATH. */
export function environment(nodePath = node) {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((one) => !one.includes('node_modules'));
  const clean = { ...process.env, PATH: [dirname(nodePath), ...folders].join(delimiter) };
  // Node 20 reads these certificates at every start, which costs 100 ms; only npm needs them.
  delete clean['NODE_EXTRA_CA_CERTS'];
  return clean;
}

/** Runs a command in the project's folder with its output shown; ends this process if it fails. */
export function run(command, args, env = environment()) {
  const shown = [command, ...args].map((word) => (word === node ? 'node' : word)).join(' ');
  process.stdout.write(`$ ${shown.replaceAll(`${root}/`, '').replace(/^node \S*npm-cli\.js/, 'npm')}\n`);
  const { status, error } = spawnSync(command, args, { cwd: root, env, stdio: 'inherit' });
  if (error !== undefined) process.stderr.write(`${command}: ${error.message}\n`);
  if (status !== 0) process.exit(status ?? 1);
}

/** Runs `npm ci` unless what is installed is what the lock file says. */
export function installDependencies() {
  if (dependenciesAreCurrent()) return;
  // No package here needs its install script: koffi and esbuild carry their binaries.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  const npm = process.env['npm_execpath'];
  const env = { ...environment(), ...certificates() };
  if (npm === undefined) run('npm', args, env);
  else run(node, [npm, ...args], env);
}

export function build() {
  run(node, ['scripts/build.mjs']);
}

function certificates() {
  const file = process.env['NODE_EXTRA_CA_CERTS'];
  return file === undefined ? {} : { NODE_EXTRA_CA_CERTS: file };
}

/** npm writes what it installed into node_modules/.package-lock.json: it is compared, so no stamp can be wrong. */
function dependenciesAreCurrent() {
  const installedFile = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    if (path === '') return true;
    const there = installed[path];
    if (there === undefined) return optional === true;
    return there.version === version && there.integrity === integrity;
  });
}

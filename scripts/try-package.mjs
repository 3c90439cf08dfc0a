/** Installs a packed package into an empty folder, and uses it there as a library (ESM and types), as a command and as a daemon. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync, mkdirSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { environment, node, root } from './set-up.mjs';

const tarball = resolve(process.argv[2] ?? '');
const folder = mkdtempSync(join(tmpdir(), 'holdfast-package-'));

function run(command, ...args) {
  const ca = process.env['NODE_EXTRA_CA_CERTS'];
  const env = { ...environment(), ...(ca === undefined ? {} : { NODE_EXTRA_CA_CERTS: ca }) };
  const text = execFileSync(command, args, { cwd: folder, env, encoding: 'utf8' });
  process.stdout.write(
    `$ ${[command, ...args].join(' ').replaceAll(folder, '.').replaceAll(root, '.')}\n${text}`,
  );
  return text;
}

/** Starts the installed daemon and asks it for what its libraries make: checked JSON, metrics, its document. */
async function tryDaemon() {
  const socketPath = join(folder, 'api/api.sock');
  const sockets = ['--lockd-socket', join(folder, 'lockd/lockd.sock'), '--api-socket', socketPath];
  const daemon = spawn('node_modules/.bin/holdfastd', sockets, {
    cwd: folder,
    env: { ...environment(), HOLDFAST_RUNTIME_DIR: join(folder, 'run') },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(daemon, 'exit');
  let said = '';
  await new Promise((resolve, reject) => {
    daemon.stderr.on('data', (text) => {
      said += text;
      if (said.includes('serving the API')) resolve();
    });
    daemon.on('exit', () => reject(new Error(`the daemon ended: ${said}`)));
  });
  try {
    for (const [path, part] of [
      ['/v1/health', '"version"'],
      ['/metrics', 'holdfast_holds'],
      ['/openapi.json', '"openapi":"3'],
      ['/v1/holds/none', '"code":"BAD_DATA"'],
    ]) {
      const text = await answer(socketPath, path);
      if (!text.includes(part)) throw new Error(`${path} of the daemon is ${text}`);
    }
  } finally {
    daemon.kill('SIGTERM');
    await ended;
  }
  if (daemon.exitCode !== 0) throw new Error(`the daemon ended with ${daemon.exitCode}: ${said}`);
  process.stdout.write('the daemon served\n');
}

function answer(socketPath, path) {
  return new Promise((resolve, reject) => {
    get({ socketPath, path }, (response) => {
      response.setEncoding('utf8');
      response.toArray().then((parts) => resolve(parts.join('')), reject);
    }).on('error', reject);
  });
}

const program = `
import { openManager, lockDisks, type Hold } from 'holdfast';
import { defineDriver } from 'holdfast/driver';
import * as conformance from 'holdfast/driver-conformance';
import * as rfc2010 from 'holdfast/rfc2010';

const manager = openManager();
const hold: Hold = await lockDisks(['./disk.img']);
try {
  console.log('held', hold.requests.length > 0, typeof defineDriver);
} finally {
  await hold.release();
  await manager.close();
}
console.log(Object.keys(conformance).length > 0, Object.keys(rfc2010).length > 0);
`;

try {
  writeFileSync(join(folder, 'package.json'), '{ "name": "try", "private": true, "type": "module" }');
  writeFileSync(join(folder, 'disk.img'), 'data');
  // As on a host: nothing that wants another Node than this package does.
  const options = ['--omit=dev', '--engine-strict', '--no-audit', '--no-fund', '--ignore-scripts'];
  run('npm', 'install', ...options, tarball);
  // What a program that uses the package brings along: the compiler and Node's types.
  mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
  for (const name of ['typescript', '@typescript', '@types/node', 'undici-types']) {
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
  writeFileSync(join(folder, 'program.ts'), program);
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  run(
    node,
    compiler,
    '--strict',
    '--target',
    'es2023',
    '--module',
    'nodenext',
    '--types',
    'node',
    'program.ts',
  );
  const output = run(node, 'program.js');
  if (output !== 'held true function\ntrue true\n') throw new Error(`the library said ${output}`);
  if (!run('node_modules/.bin/holdfast', 'version').startsWith('holdfast ')) throw new Error('no version');
  if (!run('node_modules/.bin/holdfastd', '--version').startsWith('holdfastd ')) throw new Error('no daemon');
  if (!run('node_modules/.bin/holdfast', 'serve', '--check').includes('"lockdSocket"')) {
    throw new Error('the command is no daemon');
  }
  if (run('node_modules/.bin/holdfast', 'run', '--disk', 'disk.img', '--', 'echo', 'ran') !== 'ran\n') {
    throw new Error('the command did not run');
  }
  await tryDaemon();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

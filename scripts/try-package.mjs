/** Installs a packed package into an empty folder, and uses it there as a library (ESM and types) and as a command. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, mkdirSync, writeFileSync } from 'node:fs';
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
  run('npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts', tarball);
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
} finally {
  rmSync(folder, { recursive: true, force: true });
}

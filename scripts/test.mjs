/**
 * `npm test [-- options] [files]`: sets everything up, builds, and runs the suites.
 *
 *   --node PATH     run the suites, and the command in them, with another Node
 *   --skip-slow     leave out *.slow.test.ts
 *   --skip-beds     leave out what tests libvirt, QEMU, etcd, sanlock, GlusterFS and systemd more than it tests Node
 *   --no-install    install no Debian packages
 *   HOLDFAST_NO_SKIP=1   a part that is missing (QEMU, root, ...) is a failure, not a skip
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { installDebianPackages } from './debian-packages.mjs';
import { build, environment, installDependencies, node, root } from './set-up.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    node: { type: 'string' },
    'skip-slow': { type: 'boolean', default: false },
    'skip-beds': { type: 'boolean', default: false },
    'no-install': { type: 'boolean', default: false },
  },
});

/**
 * A single test that hangs must not hang the machine that runs it; the longest one takes about two minutes, unless `npm run soak`
 * wants more.
 */
const testTimeoutMs = (10 * 60 + Number(process.env.HOLDFAST_CHAOS_SECONDS ?? 0)) * 1000;

/**
 * Suites in which other programs do the work: about half of the time. To run them with one version of Node is enough; what
 * of them depends on Node (descriptors, signals, threads, sockets) has tests of its own.
 */
const beds = [
  'test/chaos/',
  'test/daemon/cluster/',
  'test/drivers/etcd/conformance',
  'test/drivers/etcd/cut-answers',
  'test/drivers/sanlock/conformance',
  'test/drivers/sanlock/loss',
  'test/drivers/sanlock/sanlock',
  'test/examples/guides',
  'test/holders/glusterfs',
  'test/libvirt/',
  'test/packaging/beside-virtlockd',
  'test/packaging/cluster-guard',
  'test/packaging/service-store',
  'test/packaging/systemd',
  'test/packaging/user-units',
  'test/run/etcd-loss',
  'test/run/glusterfs',
  'test/run/guestfish',
  'test/run/other-host',
  'test/run/qemu-locks',
  'test/run/qemu-outcomes',
];

function testFiles() {
  if (positionals.length > 0) return positionals;
  const files = allTestFiles();
  if (!values['skip-beds']) return files;
  const gone = beds.filter((bed) => !files.some((file) => file.startsWith(bed)));
  if (gone.length > 0) throw new Error(`--skip-beds names what is not there: ${gone.join(', ')}`);
  return files.filter((file) => !beds.some((bed) => file.startsWith(bed)));
}

function allTestFiles() {
  return readdirSync(join(root, 'test'), { recursive: true })
    .filter((file) => file.endsWith('.test.ts'))
    .filter((file) => !values['skip-slow'] || !file.endsWith('.slow.test.ts'))
    .map((file) => join('test', file))
    .toSorted();
}

installDependencies();
if (!values['no-install']) installDebianPackages();
build();

const testNode = values.node === undefined ? node : resolve(values.node);
const { status } = spawnSync(
  testNode,
  [
    '--import',
    'tsx',
    '--import',
    './test/beds/end-with-tests.ts',
    '--test',
    `--test-concurrency=${availableParallelism()}`,
    `--test-timeout=${testTimeoutMs}`,
    '--test-reporter=./scripts/test-report.mjs',
    '--test-reporter-destination=stdout',
    ...testFiles(),
  ],
  { cwd: root, env: environment(testNode), stdio: 'inherit' },
);
process.exit(status ?? 1);

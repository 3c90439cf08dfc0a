/**
 * `npm run chaos -- [SECONDS] [SEED]`: the chaos test of locks in a cluster, for as long as asked (90 seconds), with the faults
 * of that seed (another one each time).
 * `npm run chaos -- simulate [SECONDS] [SEED]`: the same locks in a simulated cluster with a virtual clock (60 seconds).
 */
import { spawnSync } from 'node:child_process';
import { node, root } from './set-up.mjs';

if (process.argv[2] === 'simulate') {
  const simulate = ['--import', 'tsx', 'bench/etcd/simulate.ts', ...process.argv.slice(3)];
  process.exit(spawnSync(node, simulate, { cwd: root, stdio: 'inherit' }).status ?? 1);
}
const [seconds = '90', seed] = process.argv.slice(2);
const numbers = seed === undefined ? [seconds] : [seconds, seed];
if (!numbers.every((text) => /^[0-9]+$/.test(text))) {
  process.stderr.write('usage: npm run chaos -- [SECONDS] [SEED]\n');
  process.exit(64);
}
const { status } = spawnSync(node, ['scripts/test.mjs', 'test/chaos/chaos.slow.test.ts'], {
  cwd: root,
  env: {
    ...process.env,
    HOLDFAST_CHAOS_SECONDS: seconds,
    ...(seed === undefined ? {} : { HOLDFAST_CHAOS_SEED: seed }),
  },
  stdio: 'inherit',
});
process.exit(status ?? 1);

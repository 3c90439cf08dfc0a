/** `npm run bench:etcd [-- SECTION...]`: sets everything up, and measures the driver etcd against etcd itself (bench/etcd/all.ts). */
import { environment, installDependencies, node, run } from './set-up.mjs';

installDependencies();
run(node, ['--import', 'tsx', 'bench/etcd/all.ts', ...process.argv.slice(2)], environment());

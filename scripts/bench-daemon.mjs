/** `npm run bench:daemon [-- SECTION...]`: sets everything up, and measures the lock daemon against virtlockd (bench/daemon/all.ts). */
import { environment, installDependencies, node, run } from './set-up.mjs';

installDependencies();
run(node, ['--import', 'tsx', 'bench/daemon/all.ts', ...process.argv.slice(2)], environment());

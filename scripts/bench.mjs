/** `npm run bench [-- SECTION...]`: sets everything up, builds, and measures (bench/all.ts). */
import { build, environment, installDependencies, node, run } from './set-up.mjs';

installDependencies();
build();
run(node, ['--import', 'tsx', 'bench/all.ts', ...process.argv.slice(2)], environment());

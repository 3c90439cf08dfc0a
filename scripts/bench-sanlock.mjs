/** `npm run bench:sanlock`: builds, and measures the command with the driver sanlock against sanlock's own (bench/sanlock/all.ts). */
import { build, environment, installDependencies, node, run } from './set-up.mjs';

installDependencies();
build();
run(node, ['--import', 'tsx', 'bench/sanlock/all.ts'], environment());

/** All figures of the project, in one run: `npm run bench`. Names as arguments choose some of them. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as Library from '../src/index.js';
import { acquireFigures } from './acquire.js';
import { table, type Figure } from './measure.js';
import { planFigures } from './plan.js';
import { startFigures } from './start.js';
import { watchFigures } from './watch.js';
import { whoFigures } from './who.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
// Records stand in /run, which is tmpfs on nearly every host; /dev/shm is one everywhere.
const runtime = mkdtempSync('/dev/shm/holdfast-bench-');
mkdirSync(join(runtime, 'holds'), { mode: 0o700 });
process.env['HOLDFAST_RUNTIME_DIR'] = runtime;

const built = new URL('../dist/library/index.js', import.meta.url).href;
const sections: Record<string, () => Promise<Figure[]>> = {
  start: () => startFigures(folder),
  acquire: async () => acquireFigures(join(runtime, 'holds'), (await import(built)) as typeof Library),
  plan: () => planFigures(folder),
  watch: () => watchFigures(folder),
  who: async () => whoFigures(folder, (await import(built)) as typeof Library),
};

const chosen = process.argv.slice(2);
try {
  const figures: Figure[] = [];
  for (const [name, measure] of Object.entries(sections)) {
    if (chosen.length === 0 || chosen.includes(name)) figures.push(...(await measure()));
  }
  process.stdout.write(`${table(figures)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
  rmSync(runtime, { recursive: true, force: true });
}

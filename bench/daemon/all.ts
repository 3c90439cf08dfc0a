/**
 * The figures of the lock daemon: `npm run bench:daemon [-- rates|held]`. A real virtlockd and ours, in one run, with the
 * same load program; every lock of ours is in its keeper's hands before its owner is told.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { heldFigures } from './held.js';
import { compileLoad } from './load-program.js';
import { rates, type Rate } from './rates.js';
import { ourServer, realVirtlockd } from './servers.js';

const connectionCounts = [1, 16, 256, 900];
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 7);
const seconds = Number(process.env['BENCH_SECONDS'] ?? 0.7);

function show(what: string, figures: readonly Rate[]): void {
  const [first] = figures;
  for (const { server, rate, p50, p99, processorUs, load } of figures) {
    const cells = [
      what.padEnd(20),
      server.padEnd(10),
      `${Math.round(rate)}/s`.padStart(9),
      `${(rate / (first?.rate ?? 1)).toFixed(2)}x`.padStart(7),
      `p50 ${p50.toFixed(0)} us`.padStart(14),
      `p99 ${p99.toFixed(0)} us`.padStart(15),
      `server ${processorUs.toFixed(1)} us`.padStart(16),
      `load program ${(load * 100).toFixed(0)} %`.padStart(18),
    ];
    process.stdout.write(`${cells.join('  ')}\n`);
  }
}

// As /run is: a file system in memory.
const folder = mkdtempSync('/dev/shm/holdfast-bench-daemon-');
const chosen = process.argv.slice(2);
const wants = (section: string): boolean => chosen.length === 0 || chosen.includes(section);
try {
  const program = compileLoad(folder);
  if (program === undefined) throw new Error('there is no C compiler: install gcc');
  const servers = [await realVirtlockd(folder), await ourServer(folder)];
  try {
    if (wants('rates')) {
      for (const connections of connectionCounts) {
        const load = { mode: 'pairs', connections, seconds } as const;
        show(`pairs, ${connections} connections`, await rates(program, servers, load, rounds));
      }
      const load = { mode: 'cycles', connections: 16, seconds } as const;
      show('cycles, 16 at a time', await rates(program, servers, load, rounds));
    }
  } finally {
    for (const server of servers) await server.stop();
  }
  if (wants('held')) await heldFigures(folder);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

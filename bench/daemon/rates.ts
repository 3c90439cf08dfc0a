/** How much each server does in a second: short runs in turn, A B A B ..., and medians of them. */
import { median } from '../measure.js';
import { runLoad, type Load, type LoadRun } from './load-program.js';
import type { Server } from './servers.js';

export interface Rate {
  readonly server: string;
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  /** Processor time of the server for a pair or a cycle, in microseconds. */
  readonly processorUs: number;
  readonly load: number;
}

interface Sample extends LoadRun {
  readonly processorUs: number;
}

/** One figure for each server, from `rounds` runs of each, on the disks that it has for itself. */
export async function rates(
  program: string,
  servers: readonly Server[],
  load: Omit<Load, 'socket' | 'disks'>,
  rounds: number,
): Promise<Rate[]> {
  const samples = new Map(servers.map(({ name }) => [name, [] as Sample[]]));
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) {
      const before = server.processorTimeNs();
      const { socket, disks } = server;
      const run = await runLoad(program, { ...load, socket, disks });
      const processorUs = (server.processorTimeNs() - before) / 1000 / run.all;
      samples.get(server.name)?.push({ ...run, processorUs });
    }
  }
  return [...samples].map(([server, runs]) => {
    const of = (what: 'rate' | 'p50' | 'p99' | 'processorUs' | 'load'): number =>
      median(runs.map((run) => run[what]));
    return {
      server,
      rate: of('rate'),
      p50: of('p50'),
      p99: of('p99'),
      processorUs: of('processorUs'),
      load: of('load'),
    };
  });
}

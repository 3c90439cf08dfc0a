/** The load program (load.c), compiled into a temporary folder. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const source = fileURLToPath(new URL('load.c', import.meta.url));
const patienceMs = 60_000;

export interface LoadRun {
  readonly connections: number;
  readonly seconds: number;
  /** Pairs of acquire and release a second. */
  readonly rate: number;
  /** Of the acquires, in microseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Pairs, with those of the warm-up. */
  readonly all: number;
  /** The load program's own processor time, as a share of one processor. */
  readonly load: number;
}

export interface Load {
  readonly socket: string;
  readonly mode: 'pairs' | 'cycles';
  readonly connections: number;
  readonly seconds: number;
  /** A folder with files 0, 1, 2, ...: the disks, one for each connection. */
  readonly disks: string;
}

/** Gives the program; undefined: there is no C compiler. */
export function compileLoad(folder: string): string | undefined {
  if (spawnSync('gcc', ['--version'], { stdio: 'ignore' }).error !== undefined) return undefined;
  const program = join(folder, 'load');
  execFileSync('gcc', ['-O2', '-o', program, source]);
  return program;
}

export async function runLoad(program: string, load: Load): Promise<LoadRun> {
  const { socket, mode, connections, seconds, disks } = load;
  const args = [socket, '', String(connections), String(seconds), mode, disks];
  const { stdout } = await promisify(execFile)(program, args, { timeout: patienceMs });
  return JSON.parse(stdout) as LoadRun;
}

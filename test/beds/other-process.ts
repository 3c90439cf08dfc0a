/** Another process that locks through the driver, told what to do line by line. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { LockRequest } from '../../src/vocabulary.js';

const script = fileURLToPath(new URL('./locking-process.ts', import.meta.url));

/** `granted`, or the code of the error. */
export type Answer = 'granted' | 'done' | (string & {});

export interface OtherProcess {
  readonly pid: number;
  acquire(name: string, requests: readonly LockRequest[]): Promise<Answer>;
  extend(name: string, requests: readonly LockRequest[]): Promise<Answer>;
  shrink(name: string, identities: readonly string[]): Promise<Answer>;
  release(name: string): Promise<Answer>;
  /** Ends it without any goodbye. */
  kill(): Promise<void>;
}

const all = new Set<ChildProcess>();
after(() => all.forEach((child) => child.kill('SIGKILL')));

/** Starts one with a started driver (`fcntl`) of these settings. */
export async function otherProcess(settings: Record<string, unknown> = {}): Promise<OtherProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  all.add(child);
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const tell = async (line: unknown): Promise<Answer> => {
    child.stdin.write(`${JSON.stringify(line)}\n`);
    return (await answers.next()).value as Answer;
  };
  await answers.next();
  return {
    pid: child.pid ?? 0,
    acquire: (name, requests) => tell({ do: 'acquire', name, requests }),
    extend: (name, requests) => tell({ do: 'extend', name, requests }),
    shrink: (name, identities) => tell({ do: 'shrink', name, identities }),
    release: (name) => tell({ do: 'release', name }),
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** Somebody outside who wants each of some disks, and tries all the time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('./thieving-process.ts', import.meta.url));

export interface LockThief {
  /** Ends it; gives how often it has tried, and what it got. */
  stop(): Promise<{ readonly tries: number; readonly got: readonly string[] }>;
}

/** Starts one; it has tried everything once when this returns. */
export async function startThief(disks: readonly string[]): Promise<LockThief> {
  const child = spawn(process.execPath, ['--import', 'tsx', program, JSON.stringify(disks)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return {
    async stop() {
      const gone = once(child, 'exit');
      child.stdin.end();
      const { value } = await lines.next();
      await gone;
      return JSON.parse(String(value)) as { tries: number; got: string[] };
    },
  };
}

/** Another process that holds through the public library, and what it can be told. */
import { fileURLToPath } from 'node:url';
import { start, type Running } from './command.js';
import { until } from './until.js';

const script = fileURLToPath(new URL('./library-process.ts', import.meta.url));

export interface LibraryUser {
  readonly pid: number;
  readonly running: Running;
  /** Does one thing (see library-process.ts) and gives the answer: a state, a pid, or the code of an error. */
  tell(what: string, more?: Readonly<Record<string, unknown>>): Promise<string>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export async function libraryUser(): Promise<LibraryUser> {
  const running = start(process.execPath, ['--import', 'tsx', script]);
  await running.says('ready\n');
  let answers = 1;
  const lines = (): readonly string[] => running.stdout.split('\n').slice(0, -1);
  return {
    pid: running.pid,
    running,
    async tell(what, more = {}) {
      const number = answers++;
      running.child.stdin?.write(`${JSON.stringify({ do: what, ...more })}\n`);
      await until(
        () => lines().length > number,
        () => `an answer to ${what}: ${running.stderr}`,
      );
      return lines()[number] ?? '';
    },
    async kill() {
      running.child.kill('SIGKILL');
      await running.exited;
    },
  };
}

/** Processes with a session each, built as the product is: with the thread that renews in a file of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { GuaranteeTimes } from '../../src/driver/contract.js';
import { buildPrograms } from './build-programs.js';
import { until } from './until.js';

/** What the process says; times are those of CLOCK_BOOTTIME. */
export interface SessionUserLine extends GuaranteeTimes {
  readonly said: 'open' | 'renewed' | 'lost' | 'blocked';
  readonly atMs: number;
  /** With `open`. */
  readonly lease?: string;
  /** With `lost`. */
  readonly reason?: string;
}

export interface SessionUser {
  readonly pid: number;
  readonly markKey: string;
  readonly lines: readonly SessionUserLine[];
  readonly last: SessionUserLine;
  readonly lost: SessionUserLine | undefined;
  /** Waits until it has been renewed so often more. */
  renewed(times: number): Promise<void>;
  ask(wish: string): void;
  kill(): Promise<void>;
}

/** Compiles the program into a folder; gives its path. */
export async function buildSessionUser(folder: string): Promise<string> {
  const programs = await buildPrograms(
    folder,
    {
      'session-user': 'test/beds/etcd-session-user.ts',
      'session-worker': 'src/drivers/etcd/session/session-worker.ts',
    },
    ['koffi', '@grpc/grpc-js'],
  );
  return join(programs, 'session-user.js');
}

/** Starts one, and waits until it has its session; the test has to kill it. */
export async function startSessionUser(program: string, endpoints: readonly string[]): Promise<SessionUser> {
  const child = spawn(process.execPath, [program, endpoints.join(',')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines: SessionUserLine[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(JSON.parse(line) as SessionUserLine);
  });
  await until(() => lines.length > 0, 'a session to be opened');
  const renewals = (): number => lines.filter(({ said }) => said === 'renewed').length;
  return {
    pid: child.pid ?? 0,
    markKey: `holdfast/v1/sessions/${lines[0]?.lease}`,
    lines,
    get last() {
      return lines.at(-1) as SessionUserLine;
    },
    get lost() {
      return lines.find(({ said }) => said === 'lost');
    },
    renewed(times) {
      const before = renewals();
      return until(() => {
        const reason = lines.find(({ said }) => said === 'lost')?.reason;
        if (reason !== undefined) throw new Error(`the session was lost: ${reason}`);
        return renewals() >= before + times;
      }, 'a session to be renewed');
    },
    ask(wish) {
      child.stdin.write(`${wish}\n`);
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/**
 * The command `holdfast` as a user has it, and other programs, started by a test.
 *
 * Whatever a test starts carries the test's private runtime directory in its environment as HOLDFAST_TEST, however far it
 * detaches itself. That tells its processes from everyone else's: they are found by it, and ended by it after the test.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { endMarkedProcesses, markedProcesses } from './marked-processes.js';
import { privateRuntime } from './private-folder.js';
import { until } from './until.js';

/** The built command; `HOLDFAST_COMMAND` names another one to test. */
export const holdfast =
  process.env['HOLDFAST_COMMAND'] ?? fileURLToPath(new URL('../../dist/command/holdfast', import.meta.url));

export interface Ended {
  /** As shells give it: 128+n after signal n. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  /** The pid of what was started; `holdfast run` in place keeps it. */
  readonly pid: number;
  readonly child: ChildProcess;
  readonly stdout: string;
  readonly stderr: string;
  /** Returns when its output has this text; throws if it ends without, or takes too long. */
  says(text: string, where?: 'stdout' | 'stderr'): Promise<void>;
  /** When it has ended and nobody has its output open any longer. Rejects a minute after it was asked for. */
  readonly ended: Promise<Ended>;
  /** When it has ended, though others may still have its output open. Rejects a minute after it was asked for. */
  readonly exited: Promise<number>;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Written to its standard input, which is then closed; without it, it stays open and empty. */
  readonly input?: string;
  /** Its standard output and error, instead of pipes to the test. */
  readonly output?: 'ignore' | number;
}

/**
 * A private folder for a test file that starts programs. Its user's configuration is empty; when the tests of the file
 * are over, every process that they left is ended.
 */
export function commandFolder(): string {
  after(endLeftProcesses);
  const folder = privateRuntime();
  process.env['XDG_CONFIG_HOME'] = join(folder, 'config');
  delete process.env['NODE_EXTRA_CA_CERTS'];
  return folder;
}

const all = new Set<ChildProcess>();

function statusOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

export function start(program: string, args: readonly string[], options: StartOptions = {}): Running {
  const { cwd, env, input, output = 'pipe' } = options;
  const child = spawn(program, args, {
    stdio: ['pipe', output, output],
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
  });
  all.add(child);
  const text = { stdout: '', stderr: '' };
  child.stdout?.on('data', (bytes: Buffer) => (text.stdout += bytes.toString()));
  child.stderr?.on('data', (bytes: Buffer) => (text.stderr += bytes.toString()));
  // It may end before it has read anything.
  child.stdin?.on('error', () => undefined);
  if (input !== undefined) child.stdin?.end(input);
  const statusAt = (event: 'exit' | 'close'): Promise<number> =>
    new Promise((resolve, reject) => {
      child.once('error', reject);
      const over = (code: number | null, signal: NodeJS.Signals | null): void =>
        resolve(statusOf(code, signal));
      if (event === 'exit') child.once('exit', over);
      else child.once('close', over);
    });
  const exited = statusAt('exit');
  const ended = statusAt('close').then((status) => ({ status, ...text }));
  let over = false;
  for (const promise of [exited, ended]) {
    promise.then(
      () => (over = true),
      () => (over = true),
    );
  }
  return {
    pid: child.pid ?? 0,
    child,
    get exited() {
      return within(exited, () => `the end of ${program} ${args.join(' ')}`);
    },
    get ended() {
      return within(
        ended,
        () => `the end of all of ${program} ${args.join(' ')}: ${text.stdout}${text.stderr}`,
      );
    },
    get stdout() {
      return text.stdout;
    },
    get stderr() {
      return text.stderr;
    },
    says: (wanted, where = 'stdout') =>
      until(
        () => {
          if (text[where].includes(wanted)) return true;
          if (over) throw new Error(`it ended, and said only: ${text.stdout}${text.stderr}`);
          return false;
        },
        () => `'${wanted}' in: ${text.stdout}${text.stderr}`,
      ),
  };
}

/** In the fight 200 programs share two processors: one that only has to wait for its turn has not failed. */
const endMsMax = 240_000;

/** A program that hangs is to fail its test, not to hang it. */
async function within<Result>(promise: Promise<Result>, what: () => string): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what()}`)), endMsMax);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** `holdfast ARGS`, until it has ended. */
export function call(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  return start(holdfast, args, { input: '', ...options }).ended;
}

const marks = (): string[] => {
  const folder = process.env['HOLDFAST_RUNTIME_DIR'];
  return [`HOLDFAST_RUNTIME_DIR=${folder}`, `HOLDFAST_TEST=${folder}`];
};

/** Every process that carries this test's runtime directory, but the test itself. */
export function leftProcesses(): number[] {
  return markedProcesses(...marks());
}

/** Ends whatever tests of this file have started and left running, and what that starts meanwhile. */
export function endLeftProcesses(): void {
  for (const child of all) child.kill('SIGKILL');
  endMarkedProcesses(...marks());
}

/**
 * A guard as the one sees it who started it. Nothing here waits for a guard that does not answer: the times stand in
 * shared memory, and orders wait in Node's own memory.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import { DescriptorMessages, descriptorsMax } from '../system/pass-descriptors.js';
import { messageSocketPair, setSendTimeout } from '../system/unix-socket.js';
import { DeadlinePage, newDeadlinePage, type DeadlineTimes } from './deadline-page.js';
import { LineReader, lineOf, type GuardOrder, type GuardReport } from './guard-words.js';

/** What is to be guarded: a command that the guard starts, or a list of processes, with a watchdog device. */
export type Guarded = { readonly command: true } | { readonly processes: true; readonly watchdog?: string };

/** Long before it, a guard that lives has taken what it was sent. */
const sendMsMax = 1_000;
/** V8's own threads are of no use to a program that waits, and cost its start 2 ms. */
const nodeOptions = ['--v8-pool-size=0'];

export class GuardProcess {
  readonly #child: ChildProcess;
  readonly #page: DeadlinePage;
  readonly #socket: number;
  readonly #listeners = new Set<(report: GuardReport) => void>();
  #ended = false;
  /** In whatever way. */
  readonly ended: Promise<void>;

  /**
   * Starts it; the orders that it is given at once wait until it is there.
   * @param through words before its own: a program that becomes the guard's, with the same descriptors.
   */
  constructor(guarded: Guarded, times: DeadlineTimes, through: readonly string[] = []) {
    const pageFd = newDeadlinePage();
    const [theirs, ours] = messageSocketPair();
    try {
      this.#page = new DeadlinePage(pageFd);
      this.#page.times = times;
      const own = [execPath, ...nodeOptions, ...program(), ...argumentsFor(guarded)] as const;
      const [first = execPath, ...rest] = [...through, ...own];
      this.#child = spawn(first, rest, {
        stdio: ['pipe', 'pipe', 'inherit', pageFd, theirs],
        env: environment(),
      });
    } finally {
      closeSync(pageFd);
      closeSync(theirs);
    }
    this.#socket = ours;
    setSendTimeout(ours, sendMsMax);
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        if (this.#ended) return;
        this.#ended = true;
        closeSync(this.#socket);
        resolve();
      };
      this.#child.once('error', end);
      // Not its exit: what it has said before is read first.
      this.#child.once('close', end);
    });
    this.#child.stdin?.on('error', () => undefined);
    const reader = new LineReader<GuardReport>();
    this.#child.stdout?.setEncoding('utf8');
    this.#child.stdout?.on('data', (text: string) => {
      for (const said of reader.read(text)) for (const listener of this.#listeners) listener(said);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** As of the last renewal. */
  set times(times: DeadlineTimes) {
    this.#page.times = times;
  }

  get times(): DeadlineTimes {
    return this.#page.times;
  }

  /** Calls `listener` with each report; gives a function that ends that. */
  onReport(listener: (report: GuardReport) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The next report that `matches`; undefined: it ended, or took longer than `waitMs`. */
  async hear<Report extends GuardReport>(
    matches: (report: GuardReport) => report is Report,
    waitMs: number = Infinity,
  ): Promise<Report | undefined> {
    let timer: NodeJS.Timeout | undefined;
    let forget: () => void = () => undefined;
    try {
      return await Promise.race([
        new Promise<Report>((resolve) => {
          forget = this.onReport((said) => matches(said) && resolve(said));
        }),
        this.ended.then(() => undefined),
        new Promise<undefined>((resolve) => {
          if (waitMs !== Infinity) timer = setTimeout(() => resolve(undefined), waitMs);
        }),
      ]);
    } finally {
      clearTimeout(timer);
      forget();
    }
  }

  order(order: GuardOrder): void {
    if (!this.#ended) this.#child.stdin?.write(lineOf(order));
  }

  /** To be called before the order that says what they are for. Throws where it does not take them. */
  send(descriptors: readonly number[]): void {
    const messages = new DescriptorMessages(this.#socket, 1);
    for (let at = 0; at < descriptors.length; at += descriptorsMax) {
      messages.send(1, descriptors.slice(at, at + descriptorsMax));
    }
  }

  /** Ends it at once; what it guards goes on, and falls to whoever is the next subreaper above. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Lets this process end while the guard runs on. */
  unref(): void {
    this.#child.unref();
    for (const pipe of [this.#child.stdin, this.#child.stdout])
      (pipe as { unref?(): void } | null)?.unref?.();
  }
}

function argumentsFor(guarded: Guarded): readonly string[] {
  return 'command' in guarded ? ['command'] : ['processes', guarded.watchdog ?? ''];
}

/** The same file for the command, the library and the daemon, each of which stands in a folder beside it. */
function program(): readonly string[] {
  const here = fileURLToPath(import.meta.url);
  if (here.endsWith('.ts')) return ['--import', 'tsx', fileURLToPath(new URL('./main.ts', import.meta.url))];
  return [fileURLToPath(new URL('../command/guard.js', import.meta.url))];
}

/** Nothing of what is there for the command's sake: Node would load it, and read certificates for 100 ms. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, NODE_EXTRA_CA_CERTS: _certificates, ...rest } = process.env;
  return rest;
}

/**
 * The keeper: the small process that outlives the daemon.
 *
 * It has the listening sockets and, through its channels, a duplicate of each lock descriptor with its record. It starts
 * the daemon, gives it all of that, and starts the next one when it ends in whatever way but an ordinary stop. It
 * speaks no protocol and opens no file of anybody's, so there is little in it that could fail.
 *
 * States: running -> stopping (SIGTERM, SIGINT; the daemon is told, and the keeper ends with it)
 *         running -> replacing (SIGHUP: the daemon is told to stop; the next one is started from what is on disk now)
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { monotonicMs, pauseThread } from '../../system/clock.js';
import { Epoll, readable } from '../../system/epoll.js';
import { messageSocketPair } from '../../system/unix-socket.js';
import { KeeperEnd, KeptThings } from './kept-things.js';

/** The threads of the daemon that keep things, and what each has. */
export const channelNames = ['lockd', 'api'] as const;
export type ChannelName = (typeof channelNames)[number];

export interface KeeperOptions {
  /** The program and arguments of the daemon. */
  readonly daemon: readonly [program: string, ...args: string[]];
  /** Listening sockets by name; the daemon gets each as the descriptor whose number stands in `HOLDFAST_SOCKETS`. */
  readonly sockets: Readonly<Record<string, number>>;
  readonly log: (message: string, facts: Readonly<Record<string, unknown>>) => void;
}

/** A daemon that ends at once is started again after this, and then after twice as long each time. */
const pauseMsMin = 50;
/** Whoever connects meanwhile waits: libvirt does, and with it everything about that guest. */
const pauseMsMax = 1_000;
/** A daemon that ran so long had no trouble starting, which takes a fifth of it. */
const soundMs = 1_000;
/** An ordinary stop that takes longer is ended with SIGKILL. */
const stopMsMax = 10_000;
/** How long messages may gather before they are read: to be woken for each would cost the daemon its processor. */
const gatherMs = 10;
/** How long nothing may happen before Node's own loop gets a turn; signals interrupt it at once. */
const turnMs = 1_000;

const firstChildDescriptor = 3;

interface RunningDaemon {
  readonly child: ChildProcess;
  readonly startedMs: number;
  /** By descriptor. */
  readonly ends: Map<number, KeeperEnd>;
  ended: boolean;
}

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #epoll = new Epoll();
  readonly #things: Readonly<Record<ChannelName, KeptThings>> = {
    lockd: new KeptThings(),
    api: new KeptThings(),
  };
  #daemon: RunningDaemon | undefined;
  #state: 'running' | 'stopping' | 'replacing' = 'running';
  #startAtMs = 0;
  #pauseMs = pauseMsMin;
  #killAtMs = Infinity;
  #restarts = 0;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Runs until it is told to stop; gives the exit status. */
  async run(): Promise<number> {
    const stop = (): void => this.#stop();
    const replace = (): void => this.#replace();
    process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', replace);
    for (;;) {
      const now = monotonicMs();
      if (this.#daemon === undefined) {
        if (this.#state === 'stopping') return 0;
        if (now >= this.#startAtMs) this.#start();
      } else if (now >= this.#killAtMs) {
        this.#options.log('the daemon did not stop in time and is killed', { pid: this.#daemon.child.pid });
        this.#daemon.child.kill('SIGKILL');
        this.#killAtMs = Infinity;
      }
      const next = this.#daemon === undefined ? this.#startAtMs : this.#killAtMs;
      this.#epoll.wait(Math.max(0, Math.min(turnMs, next - monotonicMs())), (fd) => this.#read(fd));
      // Node handles signals and the end of the daemon in its own loop; a signal ends the wait.
      await new Promise(setImmediate);
      if (this.#daemon?.ended === true) this.#ended(this.#daemon);
    }
  }

  #start(): void {
    const { daemon, sockets, log } = this.#options;
    const [program, ...args] = daemon;
    const pairs = channelNames.map((name) => ({ name, pair: messageSocketPair() }));
    const passed: Record<string, number> = { ...sockets };
    for (const { name, pair } of pairs) passed[`channel:${name}`] = pair[1];
    const names = Object.keys(passed);
    const numbers = Object.fromEntries(names.map((name, index) => [name, firstChildDescriptor + index]));
    const child = spawn(program, args, {
      stdio: ['ignore', 'inherit', 'inherit', ...Object.values(passed)],
      env: {
        ...process.env,
        HOLDFAST_SOCKETS: JSON.stringify(numbers),
        HOLDFAST_RESTARTS: String(this.#restarts),
      },
    });
    for (const { pair } of pairs) closeSync(pair[1]);
    const ends = new Map(
      pairs.map(({ name, pair }) => [pair[0], new KeeperEnd(pair[0], this.#things[name])]),
    );
    const running: RunningDaemon = { child, startedMs: monotonicMs(), ends, ended: false };
    child.once('exit', (status, signal) => {
      running.ended = true;
      log('the daemon ended', { pid: child.pid, status, signal });
    });
    child.once('error', (error) => {
      running.ended = true;
      log('the daemon could not be started', { error: error.message });
    });
    this.#daemon = running;
    this.#killAtMs = Infinity;
    for (const { name, pair } of pairs) {
      this.#epoll.add(pair[0], readable);
      try {
        this.#things[name].giveTo(pair[0]);
      } catch (error) {
        // It ended already: its exit is on the way.
        if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
      }
    }
    log('the daemon was started', { pid: child.pid, kept: this.#things.lockd.size + this.#things.api.size });
  }

  #read(fd: number): void {
    const end = this.#daemon?.ends.get(fd);
    if (end === undefined) return;
    pauseThread(gatherMs);
    if (end.drain()) return;
    // Closed: the daemon is ending. What it has sent before is all taken.
    this.#epoll.remove(fd);
    closeSync(fd);
    this.#daemon?.ends.delete(fd);
  }

  #ended(daemon: RunningDaemon): void {
    for (const [fd, end] of daemon.ends) {
      end.drain();
      this.#epoll.remove(fd);
      closeSync(fd);
    }
    this.#daemon = undefined;
    this.#killAtMs = Infinity;
    if (this.#state === 'stopping') return;
    const now = monotonicMs();
    if (this.#state === 'replacing' || now - daemon.startedMs >= soundMs) this.#pauseMs = pauseMsMin;
    // The first time at once: whoever waits for an answer has only a moment of patience.
    this.#startAtMs = this.#pauseMs === pauseMsMin ? now : now + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax);
    this.#state = 'running';
    this.#restarts++;
  }

  #stop(): void {
    this.#state = 'stopping';
    this.#endDaemon();
  }

  #replace(): void {
    if (this.#state !== 'running' || this.#daemon === undefined) return;
    this.#state = 'replacing';
    this.#endDaemon();
  }

  #endDaemon(): void {
    this.#daemon?.child.kill('SIGTERM');
    this.#killAtMs = monotonicMs() + stopMsMax;
  }
}

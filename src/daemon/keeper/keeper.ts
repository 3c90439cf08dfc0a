/**
 * The keeper: the small process that outlives the daemon.
 *
 * It has the listening sockets and, through its channels, a duplicate of each lock descriptor with its record. It starts
 * the daemon, gives it all of that, and starts the next one when it ends in whatever way but an ordinary stop. It
 * speaks no protocol and opens no file of anybody's, so there is little in it that could fail.
 *
 * States: running -> stopping (SIGTERM, SIGINT; the daemon is told, and the keeper ends with it)
 *         running -> replacing -> running (SIGHUP: the daemon is told to stop, if what is on disk now could start; the next
 *                    one is started from that)
 *         running -> handing over -> over (another keeper asked for everything: the daemon is told to stop; when it has
 *                    ended the other one gets all there is, and this one ends when that one says that it has it)
 *         handing over -> running (the other one went away before it had it)
 */
import { spawn } from 'node:child_process';
import { getPriority, setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { monotonicMs } from '../../system/clock.js';
import { Epoll, readable } from '../../system/epoll.js';
import { beBatch } from '../../system/scheduling.js';
import { DaemonProcess, type AdoptedDaemon } from './daemon-process.js';
import { KeptThings } from './kept-things.js';
import { channelNames, type ChannelName } from './channel-names.js';
import type { ServiceStore } from './service-store.js';
import { type Successor, SuccessorSocket } from './successor.js';

export interface KeeperOptions {
  /** The program and arguments of the daemon. */
  readonly daemon: readonly [program: string, ...args: string[]];
  /** The program and arguments that say by their status whether such a daemon could start now; undefined: it is not asked. */
  readonly check?: readonly [program: string, ...args: string[]];
  /**
   * Listening sockets, and what else is to be kept open, by name: the daemon gets each as the descriptor whose number
   * stands in `HOLDFAST_SOCKETS`, and a keeper that takes over gets them.
   */
  readonly sockets: Readonly<Record<string, number>>;
  readonly log: (message: string, facts: Readonly<Record<string, unknown>>) => void;
  /** Where a keeper that is to take over connects. Undefined: none can. */
  readonly successorPath?: string;
  /** What another keeper had. */
  readonly things?: Readonly<Record<ChannelName, KeptThings>>;
  /** Where the service manager keeps the locks of libvirt's protocol as well. */
  readonly store?: ServiceStore;
  /** A daemon that runs: its own keeper has ended, and it has started this one. */
  readonly adopt?: AdoptedDaemon;
}

/** A daemon that ends at once is started again after this, and then after twice as long each time. */
const pauseMsMin = 50;
/** Whoever connects meanwhile waits: libvirt does, and with it everything about that guest. */
const pauseMsMax = 1_000;
/** A daemon that ran so long had no trouble starting, which takes a fifth of it. */
const soundMs = 1_000;
/** An ordinary stop that takes longer is ended with SIGKILL. */
const stopMsMax = 10_000;
/** How long nothing may happen before Node's own loop gets a turn; a signal interrupts it, unless it came just before. */
const turnMs = 1_000;
/** So much lower is its priority while it only keeps (setpriority(2)): what it does can wait, what it disturbs cannot. */
const nicer = 10;
/** The lowest there is. */
const priorityMin = 19;

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #epoll = new Epoll();
  readonly #things: Readonly<Record<ChannelName, KeptThings>>;
  readonly #successors: SuccessorSocket | undefined;
  readonly #priority = getPriority();
  readonly #canBeNicer = mayRaise(this.#priority);
  #daemon: DaemonProcess | undefined;
  #successor: Successor | undefined;
  #state: 'running' | 'stopping' | 'replacing' | 'handing over' | 'over' = 'running';
  #startAtMs = 0;
  #hearAtMs = 0;
  #pauseMs = pauseMsMin;
  #killAtMs = Infinity;
  #restarts = 0;

  /** Throws where `successorPath` cannot be bound. */
  constructor(options: KeeperOptions) {
    this.#options = options;
    // What it has lives long, and there is little else: V8 would make room for garbage that there is not (16 MB, twice).
    setFlagsFromString('--semi-space-growth-factor=1');
    this.#things = options.things ?? { lockd: new KeptThings(), api: new KeptThings() };
    const { successorPath, adopt, store } = options;
    if (store !== undefined) this.#things.lockd.mirrorIn(store);
    if (successorPath !== undefined) this.#successors = new SuccessorSocket(successorPath, this.#epoll);
    if (adopt !== undefined) {
      this.#daemon = DaemonProcess.adopt(adopt, this.#epoll, this.#things);
      this.#beNicer();
      this.#say('a daemon was adopted that had lost its keeper', { pid: adopt.pid });
    }
  }

  /** Runs until it is told to stop, or another keeper has taken over: from the call on it is the keeper, and no other one. */
  async run(): Promise<'stopped' | 'taken over'> {
    const stop = (): void => this.#stop();
    const replace = (): void => this.#replace();
    process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', replace);
    this.#successors?.publish();
    for (;;) {
      this.#beInTime();
      this.#options.store?.tell(monotonicMs());
      if (this.#state === 'over') return 'taken over';
      if (this.#daemon === undefined && this.#state === 'stopping') return 'stopped';
      this.#epoll.wait(Math.max(0, Math.ceil(this.#nextMs() - monotonicMs())), (fd) => this.#handle(fd));
      // Node handles signals and the end of its children in its own loop; a signal ends the wait.
      await new Promise(setImmediate);
    }
  }

  #nextMs(): number {
    const next =
      this.#daemon === undefined ? this.#startAtMs : Math.min(this.#killAtMs, this.#daemon.readAtMs);
    const waits = this.#state === 'handing over' && this.#daemon === undefined;
    const tellMs = this.#options.store?.tellAtMs ?? Infinity;
    return Math.min(waits ? Infinity : next, tellMs, monotonicMs() + turnMs);
  }

  #beInTime(): void {
    const now = monotonicMs();
    const daemon = this.#daemon;
    if (now >= this.#hearAtMs) {
      this.#hearAtMs = now + turnMs;
      this.#successors?.listenAgain();
    }
    if (daemon === undefined) {
      if (this.#state === 'running' && now >= this.#startAtMs) this.#start();
      return;
    }
    if (daemon.hasEnded) return this.#ended(daemon);
    daemon.readGathered(now);
    if (now < this.#killAtMs) return;
    this.#say('the daemon did not stop in time and is killed', { pid: daemon.pid });
    daemon.signal('SIGKILL');
    this.#killAtMs = Infinity;
  }

  #handle(fd: number): void {
    if (this.#daemon?.handle(fd) === true) return;
    const successor = this.#successors?.handle(fd);
    if (successor !== undefined) this.#meet(successor);
    else if (fd === this.#successor?.fd) this.#hear(this.#successor);
  }

  #start(): void {
    // The child is to have its turns as this process had them when it was started.
    if (this.#canBeNicer) setPriority(this.#priority);
    beBatch(false);
    const { daemon: program, sockets } = this.#options;
    const daemon = DaemonProcess.start(
      program,
      sockets,
      this.#restarts,
      this.#epoll,
      this.#things,
      (pid, status, signal) => this.#say('the daemon ended', { pid, status, signal }),
    );
    this.#killAtMs = Infinity;
    if (daemon instanceof Error) {
      this.#say('the daemon could not be started', { error: daemon.message });
      return this.#startLater();
    }
    this.#daemon = daemon;
    daemon.giveThings();
    this.#beNicer();
    const kept = channelNames.reduce((sum, name) => sum + this.#things[name].size, 0);
    this.#say('the daemon was started', { pid: daemon.pid, kept });
  }

  /** It is woken by each lock, while the daemon that sent it and the client that waits for the answer have the processors. */
  #beNicer(): void {
    beBatch(true);
    if (this.#canBeNicer) setPriority(Math.min(priorityMin, this.#priority + nicer));
  }

  #ended(daemon: DaemonProcess): void {
    daemon.close();
    this.#daemon = undefined;
    this.#killAtMs = Infinity;
    if (this.#state === 'handing over') return this.#handOver();
    const now = monotonicMs();
    if (this.#state === 'replacing' || now - daemon.startedMs >= soundMs) this.#pauseMs = pauseMsMin;
    this.#startLater();
  }

  #startLater(): void {
    const now = monotonicMs();
    // The first time at once: whoever waits for an answer has only a moment of patience.
    this.#startAtMs = this.#pauseMs === pauseMsMin ? now : now + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax);
    if (this.#state === 'replacing') this.#state = 'running';
    this.#restarts++;
  }

  #stop(): void {
    if (this.#state === 'over') return;
    this.#dismiss();
    this.#state = 'stopping';
    this.#endDaemon();
  }

  #replace(): void {
    if (this.#state !== 'running') return;
    // One that waits to be started again, because the last one did not live long, is started now.
    if (this.#daemon === undefined) {
      this.#startAtMs = monotonicMs();
      return;
    }
    const { check } = this.#options;
    if (check === undefined) return this.#replaceNow();
    const [program, ...args] = check;
    const checking = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    checking.once('error', (error) => this.#say('the daemon is not replaced', { error: error.message }));
    checking.once('exit', (status, signal) => {
      // With a configuration that is wrong nobody would serve.
      if (status === 0) this.#replaceNow();
      else this.#say('the daemon is not replaced: its configuration is wrong', { status, signal });
    });
  }

  #replaceNow(): void {
    if (this.#state !== 'running' || this.#daemon === undefined) return;
    this.#state = 'replacing';
    this.#endDaemon();
  }

  #endDaemon(): void {
    if (this.#daemon === undefined) return;
    this.#daemon.signal('SIGTERM');
    this.#killAtMs = monotonicMs() + stopMsMax;
  }

  /** Somebody has connected who may take over. */
  #meet(successor: Successor): void {
    if (this.#state !== 'running' || this.#successor !== undefined) return successor.close();
    this.#successor = successor;
    this.#epoll.add(successor.fd, readable);
  }

  #hear(successor: Successor): void {
    const said = successor.listen();
    if (said === 'nothing') return;
    if (said === 'give' && this.#state === 'running') {
      this.#say('another keeper takes over', { keeper: successor.pid });
      this.#state = 'handing over';
      if (this.#daemon === undefined) this.#handOver();
      else this.#endDaemon();
    } else if (said === 'taken' && this.#state === 'handing over' && this.#daemon === undefined) {
      this.#say('another keeper has taken over', { keeper: successor.pid });
      this.#state = 'over';
    } else {
      this.#say('the other keeper went away', { keeper: successor.pid });
      this.#dismiss();
    }
  }

  #handOver(): void {
    const successor = this.#successor;
    if (successor === undefined) return;
    try {
      successor.give(this.#options.sockets, this.#things);
    } catch (error) {
      this.#say('the other keeper does not take it', {
        keeper: successor.pid,
        error: (error as Error).message,
      });
      this.#dismiss();
    }
  }

  #dismiss(): void {
    if (this.#successor === undefined) return;
    this.#epoll.remove(this.#successor.fd);
    this.#successor.close();
    this.#successor = undefined;
    if (this.#state !== 'handing over') return;
    // If its daemon still runs, that one was told to stop, and another follows.
    this.#state = this.#daemon === undefined ? 'running' : 'replacing';
    this.#startAtMs = monotonicMs();
  }

  #say(message: string, facts: Readonly<Record<string, unknown>>): void {
    this.#options.log(message, facts);
  }

  /** Removes what it has bound itself; to be called when nobody has taken over. */
  close(): void {
    this.#successors?.close();
  }
}

/** Whether this process could take back a lower priority: root may (CAP_SYS_NICE), or whom a limit allows it (RLIMIT_NICE). */
function mayRaise(priority: number): boolean {
  try {
    setPriority(priority - 1);
    setPriority(priority);
    return true;
  } catch {
    return false;
  }
}

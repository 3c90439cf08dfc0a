/**
 * A daemon that runs, as its keeper sees it: one that it has started, or one that has lost its keeper and started this one.
 *
 * What the daemon gives is read some time after it has come: it is safe in the queue, and to be woken for each message would
 * cost the daemon its processor, and the peers their place on it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { monotonicMs } from '../../system/clock.js';
import { readable, type Epoll } from '../../system/epoll.js';
import { openProcess, signalDescriptor } from '../../system/pidfd.js';
import { processStartTime } from '../../system/process.js';
import { messageSocketPair, setSendBuffer, setSendTimeout } from '../../system/unix-socket.js';
import { queueBytes } from './channel.js';
import { channelNames, type ChannelName } from './channel-names.js';
import { KeeperEnd, type KeptThings } from './kept-things.js';

/** One that has started its keeper. */
export interface AdoptedDaemon {
  readonly pid: number;
  readonly startTime: number;
  /** As `Channel.renew` gives them. */
  readonly channels: Readonly<Record<ChannelName, readonly number[]>>;
}

type Things = Readonly<Record<ChannelName, KeptThings>>;

const firstChildDescriptor = 3;
/**
 * How long what the daemon gives may gather. Some thousand messages come in that time, and the queue takes more; a user's own
 * daemon has a smaller one, and waits until it is read.
 */
const gatherMsUsual = 50;
const gatherMsSmallQueue = 5;
/** A daemon that does not read for so long what it starts with will never serve. */
const giveMsMax = 10_000;

export class DaemonProcess {
  readonly pid: number;
  readonly startedMs = monotonicMs();
  readonly #epoll: Epoll;
  readonly #pidfd: number;
  readonly #things: Things;
  /** By descriptor; of those in `#gathering` epoll tells only the end. */
  readonly #ends = new Map<number, KeeperEnd>();
  readonly #names = new Map<number, ChannelName>();
  readonly #gathering = new Map<number, number>();
  readonly #gatherMs: number;
  #ended = false;

  private constructor(
    pid: number,
    startTime: number,
    channels: Readonly<Record<ChannelName, number>>,
    epoll: Epoll,
    things: Things,
  ) {
    const pidfd = openProcess(pid, startTime);
    this.pid = pid;
    this.#epoll = epoll;
    this.#things = things;
    this.#gatherMs = process.geteuid?.() === 0 ? gatherMsUsual : gatherMsSmallQueue;
    for (const name of channelNames) {
      const fd = channels[name];
      this.#ends.set(fd, new KeeperEnd(fd, things[name]));
      this.#names.set(fd, name);
      epoll.add(fd, readable);
    }
    this.#ended = pidfd === undefined;
    this.#pidfd = pidfd ?? -1;
    if (pidfd !== undefined) epoll.add(pidfd, readable);
  }

  static adopt({ pid, startTime, channels }: AdoptedDaemon, epoll: Epoll, things: Things): DaemonProcess {
    const last: Record<ChannelName, number> = { lockd: -1, api: -1 };
    for (const name of channelNames) {
      last[name] = channels[name].at(-1) ?? -1;
      for (const fd of channels[name].slice(0, -1)) {
        new KeeperEnd(fd, things[name]).drain();
        closeSync(fd);
      }
    }
    return new DaemonProcess(pid, startTime, last, epoll, things);
  }

  /** Gives an error where the program could not be started: nothing of it is left then. */
  static start(
    [program, ...args]: readonly [program: string, ...args: string[]],
    sockets: Readonly<Record<string, number>>,
    restarts: number,
    epoll: Epoll,
    things: Things,
    exited: (pid: number, status: number | null, signal: string | null) => void,
  ): DaemonProcess | Error {
    const pairs: { readonly name: ChannelName; readonly pair: readonly [number, number] }[] = [];
    let child: ChildProcess | undefined;
    try {
      for (const name of channelNames) pairs.push({ name, pair: messageSocketPair() });
      const passed: Record<string, number> = { ...sockets };
      for (const { name, pair } of pairs) {
        passed[`channel:${name}`] = pair[1];
        setSendBuffer(pair[1], queueBytes);
      }
      child = spawn(program, args, {
        stdio: ['ignore', 'inherit', 'inherit', ...Object.values(passed)],
        env: {
          ...process.env,
          HOLDFAST_SOCKETS: JSON.stringify(descriptorNumbers(passed)),
          HOLDFAST_RESTARTS: String(restarts),
        },
      });
      const { pid } = child;
      // Without a pid it comes later, in Node's own loop.
      child.on('error', () => undefined);
      child.once('exit', (status, signal) => exited(pid ?? 0, status, signal));
      // The child is not waited for before this: its start time can be read even if it has ended.
      const startTime = pid === undefined ? undefined : processStartTime(pid);
      if (pid === undefined || startTime === undefined) throw new Error(`${program} cannot be started`);
      const channels = Object.fromEntries(pairs.map(({ name, pair }) => [name, pair[0]]));
      const daemon = new DaemonProcess(
        pid,
        startTime,
        channels as Record<ChannelName, number>,
        epoll,
        things,
      );
      for (const { pair } of pairs) closeSync(pair[1]);
      return daemon;
    } catch (error) {
      // One that nobody watches would serve beside the next.
      child?.kill('SIGKILL');
      for (const fd of pairs.flatMap(({ pair }) => pair)) closeSync(fd);
      return error as Error;
    }
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** When something is to be read that has gathered. */
  get readAtMs(): number {
    return Math.min(Infinity, ...this.#gathering.values());
  }

  /** Everything that is kept, to a daemon that was just started. */
  giveThings(): void {
    for (const [fd, name] of this.#names) {
      try {
        setSendTimeout(fd, giveMsMax);
        this.#things[name].giveTo(fd);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // It has ended already.
        if (code === 'EPIPE') continue;
        if (code !== 'EAGAIN') throw error;
        this.signal('SIGKILL');
      }
    }
  }

  signal(name: 'SIGTERM' | 'SIGKILL'): void {
    if (!this.#ended) signalDescriptor(this.#pidfd, constants.signals[name]);
  }

  /** An event of epoll; false: it is about nothing of this daemon. */
  handle(fd: number): boolean {
    if (fd === this.#pidfd) {
      this.#ended = true;
      return true;
    }
    const end = this.#ends.get(fd);
    if (end === undefined) return false;
    if (this.#gathering.has(fd)) {
      // The end: nothing more will come.
      if (!end.drain()) this.#forget(fd);
      return true;
    }
    this.#epoll.change(fd, 0);
    this.#gathering.set(fd, monotonicMs() + this.#gatherMs);
    return true;
  }

  /** Reads what has gathered long enough. */
  readGathered(nowMs: number): void {
    for (const [fd, atMs] of this.#gathering) {
      if (nowMs < atMs) continue;
      const end = this.#ends.get(fd);
      const before = end?.entries;
      if (end?.drain() !== true) {
        this.#forget(fd);
      } else if (end.entries !== before) {
        this.#gathering.set(fd, nowMs + this.#gatherMs);
      } else {
        this.#gathering.delete(fd);
        this.#epoll.change(fd, readable);
      }
    }
  }

  /** After its end: takes what it has given and closes everything of it. */
  close(): void {
    for (const [fd, end] of this.#ends) {
      end.drain();
      this.#forget(fd);
    }
    if (this.#pidfd === -1) return;
    this.#epoll.remove(this.#pidfd);
    closeSync(this.#pidfd);
  }

  #forget(fd: number): void {
    this.#epoll.remove(fd);
    closeSync(fd);
    this.#ends.delete(fd);
    this.#gathering.delete(fd);
  }
}

/** The numbers that passed descriptors have in the child, by name. */
export function descriptorNumbers(passed: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.keys(passed).map((name, index) => [name, firstChildDescriptor + index]));
}

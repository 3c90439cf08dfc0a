/**
 * Owners by their processes: the end of a process is known from the kernel (pidfd_open(2)), never from a connection alone.
 *
 * A process is watched as long as somebody needs it: each connection that registered it, and each lock that it holds; and
 * some time longer, because libvirt makes a connection for each thing that it asks.
 */
import { closeSync } from 'node:fs';
import { readable, type Epoll } from '../../system/epoll.js';
import { hasEnded, knownStartTime, openProcess, signalDescriptor } from '../../system/pidfd.js';

interface WatchedProcess {
  readonly pid: number;
  readonly startTime: number;
  readonly fd: number;
  needed: number;
  /** Undefined: nobody wants it to end. */
  ending: { attempts: number; nextMs: number } | undefined;
}

/** As virtlockd ends a process whose connection is gone: SIGTERM, and SIGKILL from the eighth try on. */
const attemptPauseMs = 200;
const attemptsMax = 15;
const killFromAttempt = 8;
const SIGTERM = 15;
const SIGKILL = 9;

/** So many that nobody needs are watched on; then those are forgotten that were needed before all others. */
const idleMax = 256;

export class OwnerWatch {
  readonly #epoll: Epoll;
  readonly #byPid = new Map<number, WatchedProcess>();
  readonly #byFd = new Map<number, WatchedProcess>();
  readonly #ending = new Set<WatchedProcess>();
  readonly #idle = new Set<WatchedProcess>();

  constructor(epoll: Epoll) {
    this.#epoll = epoll;
  }

  /**
   * Watches the process that has this pid now; gives its start time. Undefined: there is none. Throws where no descriptor
   * is left (`EMFILE`).
   */
  need(pid: number): number | undefined {
    const known = this.#byPid.get(pid);
    if (known !== undefined) {
      this.#use(known);
      return known.startTime;
    }
    const startTime = knownStartTime(pid);
    return startTime !== undefined && this.needExactly(pid, startTime) ? startTime : undefined;
  }

  /** The same for a process that is known by its start time. False: it has ended. */
  needExactly(pid: number, startTime: number): boolean {
    const known = this.#byPid.get(pid);
    if (known !== undefined) {
      if (known.startTime !== startTime) return false;
      this.#use(known);
      return true;
    }
    const fd = openProcess(pid, startTime);
    if (fd === undefined) return false;
    const watched: WatchedProcess = { pid, startTime, fd, needed: 1, ending: undefined };
    this.#epoll.add(fd, readable);
    this.#byPid.set(pid, watched);
    this.#byFd.set(fd, watched);
    return true;
  }

  /** Another process that has the pid by now is needed by others. */
  noLongerNeeds(pid: number, startTime: number): void {
    const watched = this.#byPid.get(pid);
    if (watched?.startTime !== startTime || --watched.needed > 0) return;
    this.#idle.add(watched);
    if (this.#idle.size <= idleMax) return;
    for (const oldest of this.#idle) {
      if (oldest.ending !== undefined) continue;
      this.#forget(oldest);
      return;
    }
  }

  /** Whether this process runs, as far as epoll has said. */
  watches(pid: number, startTime: number): boolean {
    return this.#byPid.get(pid)?.startTime === startTime;
  }

  /**
   * The process that has ended, if `fd` is one of these descriptors. It is forgotten. An event may be about a descriptor
   * that was closed in the same turn, and whose number is another process's by now: so the descriptor is asked.
   */
  ended(fd: number): { readonly pid: number; readonly startTime: number } | undefined {
    const watched = this.#byFd.get(fd);
    if (watched === undefined || !hasEnded(fd)) return undefined;
    this.#forget(watched);
    return watched;
  }

  isWatched(fd: number): boolean {
    return this.#byFd.has(fd);
  }

  /** Ends a process that gave up its connection and still runs: not at once, because it may just be ending by itself. */
  end(pid: number, startTime: number, nowMs: number): void {
    const watched = this.#byPid.get(pid);
    if (watched?.startTime !== startTime || watched.ending !== undefined) return;
    watched.ending = { attempts: 0, nextMs: nowMs + attemptPauseMs };
    this.#ending.add(watched);
  }

  /** Whether `signalDue` has anything to do, now or later. */
  get endsAny(): boolean {
    return this.#ending.size > 0;
  }

  /** Sends the signals that are due; gives when the next one is, in milliseconds of the same clock. */
  signalDue(nowMs: number, sent: (pid: number, signal: number) => void): number {
    let next = Infinity;
    for (const watched of this.#ending) {
      const { ending } = watched;
      if (ending === undefined) continue;
      if (nowMs >= ending.nextMs && ending.attempts < attemptsMax) {
        ending.attempts++;
        ending.nextMs = nowMs + attemptPauseMs;
        const signal = ending.attempts >= killFromAttempt ? SIGKILL : SIGTERM;
        if (signalDescriptor(watched.fd, signal)) sent(watched.pid, signal);
      }
      if (ending.attempts < attemptsMax) next = Math.min(next, ending.nextMs);
    }
    return next;
  }

  #use(watched: WatchedProcess): void {
    if (watched.needed++ === 0) this.#idle.delete(watched);
  }

  #forget(watched: WatchedProcess): void {
    this.#idle.delete(watched);
    this.#epoll.remove(watched.fd);
    closeSync(watched.fd);
    this.#byFd.delete(watched.fd);
    this.#byPid.delete(watched.pid);
    this.#ending.delete(watched);
  }
}

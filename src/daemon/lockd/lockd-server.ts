/**
 * The server of libvirt's lock protocol, in a thread of its own: one loop over epoll. The calls of a turn are done one
 * after another; then what they took is put into the keeper's hands, all at once; then their answers go out.
 *
 * An owner is whom a connection registered; what it holds ends with its process, not with a connection. A connection
 * that closes although its peer *is* the owner's process, which holds something and goes on running, has lost the
 * only way to be told of anything: the process is ended, as virtlockd does, and its locks after it.
 */
import type { RpcError } from '../../protocol/rpc-error.js';
import { rpcType, type RpcFrame, type RpcHeader } from '../../protocol/rpc-frame.js';
import { monotonicMs } from '../../system/clock.js';
import { readable, writable, type Epoll } from '../../system/epoll.js';
import { peerCredentials } from '../../system/peer-credentials.js';
import { acceptConnection } from '../../system/unix-socket.js';
import { AnswerQueue } from './answer-queue.js';
import * as answers from './answers.js';
import type { ClusterOutcome } from './cluster-calls.js';
import { Connection } from './connection.js';
import type { HeldLocks } from './held-locks.js';
import { answerKeepalive, keepaliveProgram } from './keepalive.js';
import { errorReplyTo, lockCallOf } from './lock-call.js';
import type { Lock } from './lock-table.js';
import type { LockdReports } from './lockd-reports.js';
import type { OwnerWatch } from './owner-watch.js';
import type { Procedures } from './procedures.js';

export interface LockdServerOptions {
  readonly epoll: Epoll;
  readonly listening: number;
  readonly procedures: Procedures;
  readonly held: HeldLocks;
  readonly owners: OwnerWatch;
  /** Whether a process holds anything. */
  readonly holdsAny: (pid: number) => boolean;
  /** Peers of other users are turned away. */
  readonly uid: number;
  readonly connectionsMax: number;
  readonly reports: LockdReports;
  /**
   * Asks, elsewhere, who but this process has a file that somebody outside this daemon has locked; `explained` is called with
   * the answer.
   */
  readonly explain: (token: number, path: string, pid: number) => void;
}

interface OpenQuestion {
  readonly connection: Connection;
  readonly header: RpcHeader;
  readonly name: string;
}

/** A call that waits for what becomes of its lock in the cluster. */
type WaitingCall = Omit<OpenQuestion, 'name'>;

const readBytes = 64 * 1024;
/** So many calls share a message to the keeper: the first of them waits for the last. */
const answersMax = 16;
/** When descriptors are used up, as long as this nobody is accepted: the ready socket would be said again at once. */
const acceptPauseMs = 100;

export class LockdServer {
  readonly #options: LockdServerOptions;
  readonly #connections = new Map<number, Connection>();
  readonly #questions = new Map<number, OpenQuestion>();
  /** By the token that they wait for. */
  readonly #inCluster = new Map<number, WaitingCall[]>();
  readonly #buffer = Buffer.alloc(readBytes);
  readonly #answers: AnswerQueue;
  #lastToken = 0;
  #acceptAtMs = 0;

  constructor(options: LockdServerOptions) {
    this.#options = options;
    this.#answers = new AnswerQueue({
      held: options.held,
      gone: (connection) => this.#close(connection),
      unsentChanged: (connection) => this.#watchWriting(connection),
    });
    options.epoll.add(options.listening, readable);
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** From now on who connects waits for the next daemon. */
  stopAccepting(): void {
    this.#options.epoll.remove(this.#options.listening);
    this.#acceptAtMs = 0;
  }

  /** Whether somebody is in the middle of something: libvirt closes its connection when all it wants is done. */
  get isBusy(): boolean {
    return [...this.#connections.values()].some(({ restricted }) => !restricted);
  }

  /** One event of epoll; false: it is about none of the server's descriptors. */
  handle(fd: number, events: number): boolean {
    const { listening, owners } = this.#options;
    const connection = this.#connections.get(fd);
    if (connection !== undefined) this.#serve(connection, events);
    else if (fd === listening) this.#accept();
    else if (owners.isWatched(fd)) this.#ownerEnded(fd);
    else return false;
    if (this.#answers.length >= answersMax) this.finish();
    return true;
  }

  /** The end of a turn: after it, whoever called is answered. */
  finish(): void {
    this.#answers.send();
  }

  /** What is due by the clock; gives when something will be, in milliseconds of `monotonicMs`. */
  handleTime(): number {
    if (this.#acceptAtMs === 0 && !this.#options.owners.endsAny) return Infinity;
    const now = monotonicMs();
    if (this.#acceptAtMs !== 0 && now >= this.#acceptAtMs) {
      this.#acceptAtMs = 0;
      this.#options.epoll.change(this.#options.listening, readable);
    }
    const next = this.#options.owners.signalDue(now, (pid, signal) =>
      this.#options.reports.tell('owner signalled', { pid, signal }),
    );
    return this.#acceptAtMs === 0 ? next : Math.min(next, this.#acceptAtMs);
  }

  /** The answer to `explain`: who has it, in words. */
  explained(token: number, by: string | undefined): void {
    const question = this.#questions.get(token);
    this.#questions.delete(token);
    if (question === undefined) return;
    const { connection, header, name } = question;
    this.#reply(connection, header, answers.isLocked(name, by));
  }

  /** What became of a lock in the cluster: those who wait for it are answered, if they are still there. */
  settled(token: number, outcome: ClusterOutcome): void {
    const calls = this.#inCluster.get(token) ?? [];
    this.#inCluster.delete(token);
    const { error, acquired } = this.#options.procedures.settled(outcome);
    for (const { connection, header } of calls) {
      if (!connection.closed) this.#reply(connection, header, error, acquired);
    }
  }

  #accept(): void {
    const { listening, uid, epoll, connectionsMax, reports } = this.#options;
    for (;;) {
      let fd: number | undefined;
      try {
        fd = acceptConnection(listening);
      } catch (error) {
        // Whatever it is (EMFILE, ENFILE, ENOMEM), it will not be better at once.
        reports.tell('no connections accepted', { why: (error as Error).message });
        epoll.change(listening, 0);
        this.#acceptAtMs = monotonicMs() + acceptPauseMs;
        return;
      }
      if (fd === undefined) return;
      const peer = peerCredentials(fd);
      const connection = new Connection(fd, peer);
      const full = this.#connections.size >= connectionsMax;
      if (full || (peer.uid !== uid && peer.uid !== 0)) {
        const why = full ? `there are ${connectionsMax} already` : 'of another user';
        reports.tell('connection refused', { ...peer, why });
        connection.close();
        continue;
      }
      this.#connections.set(fd, connection);
      epoll.add(fd, readable);
    }
  }

  #serve(connection: Connection, events: number): void {
    if ((events & writable) !== 0 && !this.#flush(connection)) return;
    try {
      const state = connection.read(this.#buffer, (frame) => this.#take(connection, frame));
      if (state === 'open') return;
      // A frame before it may have acquired what nobody is to be told of any more.
      this.finish();
      if (state === 'reset') this.#answers.doubt(connection);
      this.#close(connection);
    } catch (error) {
      const { fd, peer } = connection;
      const why = error instanceof Error ? error.message : String(error);
      this.#options.reports.tell('connection closed for what it sent', { ...peer, fd, why });
      this.finish();
      this.#close(connection);
    }
  }

  #take(connection: Connection, frame: RpcFrame): void {
    connection.acquired = undefined;
    if (frame.program === keepaliveProgram && frame.type === rpcType.message) {
      const pong = answerKeepalive(frame);
      if (pong !== undefined) this.#answers.add(connection, pong);
      return;
    }
    const call = lockCallOf(frame);
    if (call === undefined) return;
    if (!('call' in call)) return this.#reply(connection, frame, call);
    const { error, acquired, heldOutside, inCluster } = this.#options.procedures.do(connection, call);
    if (heldOutside === undefined && inCluster === undefined)
      return this.#reply(connection, frame, error, acquired);
    const { payload: _, ...header } = frame;
    if (inCluster !== undefined) {
      const calls = this.#inCluster.get(inCluster) ?? [];
      this.#inCluster.set(inCluster, [...calls, { connection, header }]);
    }
    if (heldOutside === undefined) return;
    const token = ++this.#lastToken;
    this.#questions.set(token, { connection, header, name: heldOutside.name });
    this.#options.explain(token, heldOutside.path, heldOutside.pid);
  }

  #ownerEnded(fd: number): void {
    const ended = this.#options.owners.ended(fd);
    if (ended !== undefined) this.#options.procedures.ownerEnded(ended.pid);
  }

  #reply(connection: Connection, to: RpcHeader, error: RpcError | undefined, acquired?: Lock): void {
    this.#answers.add(connection, error && errorReplyTo(to, error), to.procedure, to.serial, acquired);
  }

  #flush(connection: Connection): boolean {
    const state = connection.flush();
    if (state === 'gone') this.#close(connection);
    else this.#watchWriting(connection);
    return state !== 'gone';
  }

  #watchWriting(connection: Connection): void {
    this.#options.epoll.change(connection.fd, connection.hasUnsent ? readable | writable : readable);
  }

  #close(connection: Connection): void {
    const { epoll, owners, procedures, holdsAny } = this.#options;
    if (connection.closed) return;
    this.#connections.delete(connection.fd);
    epoll.remove(connection.fd);
    connection.close();
    for (const [token, question] of this.#questions) {
      if (question.connection === connection) this.#questions.delete(token);
    }
    const { owner, peer } = connection;
    if (owner !== undefined && peer.pid === owner.pid && holdsAny(owner.pid)) {
      owners.end(owner.pid, owner.startTime, monotonicMs());
    }
    procedures.callerGone(connection);
  }
}

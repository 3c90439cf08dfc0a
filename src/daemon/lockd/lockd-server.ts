/**
 * The server of libvirt's lock protocol, in a thread of its own: one loop over epoll, in which each call is answered before
 * the next one is read. Rules and codes are virtlockd's.
 *
 * An owner is whom a connection registered; what it holds ends with its process, not with a connection. A connection
 * that closes although its peer *is* the owner's process, which holds something and goes on running, has lost the
 * only way to be told of anything: the process is ended, as virtlockd does, and its locks after it.
 */
import { mkdirSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { ProtocolError } from '../../protocol/protocol-error.js';
import {
  acquireFlag,
  decodeLockCall,
  encodeLockReply,
  lockProgram,
  lockVersion,
  type LockCall,
} from '../../protocol/lock-protocol.js';
import type { RpcError } from '../../protocol/rpc-error.js';
import { rpcType, type RpcFrame } from '../../protocol/rpc-frame.js';
import { monotonicMs } from '../../system/clock.js';
import { readable, writable, type Epoll } from '../../system/epoll.js';
import { peerCredentials } from '../../system/peer-credentials.js';
import { acceptConnection } from '../../system/unix-socket.js';
import * as answers from './answers.js';
import { Connection } from './connection.js';
import { pathOf, type HeldLocks } from './held-locks.js';
import { sameOwner, type Lock, type LockdOwner, type LockTable } from './lock-table.js';
import type { OwnerWatch } from './owner-watch.js';

export interface LockdServerOptions {
  readonly epoll: Epoll;
  readonly listening: number;
  readonly table: LockTable;
  readonly held: HeldLocks;
  readonly owners: OwnerWatch;
  /** Peers of other users are turned away. */
  readonly uid: number;
  readonly report: (event: LockdEvent) => void;
  /** Asks, elsewhere, who has a file that somebody outside this daemon has locked; `explained` is called with the answer. */
  readonly explain: (token: number, path: string) => void;
}

export interface LockdEvent {
  readonly what:
    | 'acquired'
    | 'released'
    | 'refused'
    | 'owner ended'
    | 'owner signalled'
    | 'connection refused'
    | 'connection closed for what it sent'
    /** Killed by somebody: there is nobody left to start the daemon again, and only the journal outlives it. */
    | 'keeper ended';
  readonly facts: Readonly<Record<string, unknown>>;
}

interface OpenQuestion {
  readonly connection: Connection;
  readonly frame: Pick<RpcFrame, 'procedure' | 'serial'>;
  readonly name: string;
}

const readBytes = 64 * 1024;
/** virtlockd takes 1,024; each costs a descriptor and some 2 KiB. */
const connectionsMax = 10_000;
const uuidDigits = 32;

export class LockdServer {
  readonly #options: LockdServerOptions;
  readonly #connections = new Map<number, Connection>();
  readonly #questions = new Map<number, OpenQuestion>();
  readonly #buffer = Buffer.alloc(readBytes);
  #lastToken = 0;

  constructor(options: LockdServerOptions) {
    this.#options = options;
    options.epoll.add(options.listening, readable);
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** From now on who connects waits for the next daemon. */
  stopAccepting(): void {
    this.#options.epoll.remove(this.#options.listening);
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
    return true;
  }

  /** What is due by the clock; gives when something will be, in milliseconds of `monotonicMs`. */
  handleTime(): number {
    return this.#options.owners.signalDue(monotonicMs(), (pid, signal) =>
      this.#options.report({ what: 'owner signalled', facts: { pid, signal } }),
    );
  }

  /** The answer to `explain`: who has it, in words. */
  explained(token: number, by: string | undefined): void {
    const question = this.#questions.get(token);
    this.#questions.delete(token);
    if (question === undefined) return;
    question.connection.waiting--;
    this.#answer(question.connection, question.frame, answers.isLocked(question.name, by));
  }

  #accept(): void {
    const { listening, uid, epoll, report } = this.#options;
    for (;;) {
      const fd = acceptConnection(listening);
      if (fd === undefined) return;
      const peer = peerCredentials(fd);
      const connection = new Connection(fd, peer);
      const full = this.#connections.size >= connectionsMax;
      if (full || (peer.uid !== uid && peer.uid !== 0)) {
        report({
          what: 'connection refused',
          facts: { ...peer, why: full ? `there are ${connectionsMax} already` : 'of another user' },
        });
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
      const open = connection.read(this.#buffer, (frame) => {
        // A frame can end the connection that the next one came on.
        if (this.#connections.has(connection.fd)) this.#take(connection, frame);
      });
      if (!open) this.#close(connection);
    } catch (error) {
      const { fd, peer } = connection;
      const why = error instanceof Error ? error.message : String(error);
      this.#options.report({ what: 'connection closed for what it sent', facts: { ...peer, fd, why } });
      this.#close(connection);
    }
  }

  #take(connection: Connection, frame: RpcFrame): void {
    if (frame.program !== lockProgram) {
      return this.#answer(
        connection,
        frame,
        answers.unknownCall(`Cannot find program ${frame.program} version ${frame.version}`),
      );
    }
    if (frame.version !== lockVersion || frame.type !== rpcType.call) {
      return this.#answer(
        connection,
        frame,
        answers.unknownCall(`no call of program ${frame.program} version ${lockVersion}`),
      );
    }
    let call: LockCall;
    try {
      call = decodeLockCall(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#answer(connection, frame, answers.unknownCall(error.message));
    }
    const result = this.#call(connection, frame, call);
    if (result !== 'later') this.#answer(connection, frame, result);
  }

  #call(connection: Connection, frame: RpcFrame, call: LockCall): RpcError | undefined | 'later' {
    if (connection.restricted) return answers.restricted;
    if (call.call === 'createLockspace') return this.#createLockspace(call.path);
    if (call.call === 'register') return this.#register(connection, call);
    const { owner } = connection;
    if (owner === undefined) return answers.unregistered;
    switch (call.call) {
      case 'restrict':
        if (call.flags !== 0) return answers.unsupportedFlags(call.flags);
        connection.restricted = true;
        return undefined;
      case 'newLockspace':
        return call.flags === 0 ? this.#createLockspace(call.path) : answers.unsupportedFlags(call.flags);
      case 'acquire':
        return this.#acquire(connection, frame, owner, call);
      case 'release':
        return this.#release(owner, call);
      case 'createResource':
      case 'deleteResource':
        return answers.unknownCall(
          `no call ${call.call}: a resource is made with its lock, and ends with it`,
        );
    }
  }

  #register(connection: Connection, call: LockCall & { call: 'register' }): RpcError | undefined {
    if (call.flags !== 0) return answers.unsupportedFlags(call.flags);
    if (connection.owner !== undefined) return answers.registeredTwice;
    const { uuid, name, id, pid } = call.owner;
    if (pid === 0) return answers.unregistered;
    const startTime = this.#options.owners.need(pid);
    if (startTime === undefined) return answers.noSuchProcess(pid);
    connection.owner = { uuid: uuid.toString('hex', 0, uuidDigits / 2), name, id, pid, startTime };
    return undefined;
  }

  #createLockspace(path: string): RpcError | undefined {
    const { table, held } = this.#options;
    if (table.hasLockspace(path)) return undefined;
    if (!path.startsWith('/')) return answers.notAName(path);
    try {
      mkdirSync(path, { mode: 0o700, recursive: true });
    } catch (error) {
      return systemAnswer(
        `cannot create lockspace ${path}`,
        Math.abs((error as NodeJS.ErrnoException).errno ?? 0),
      );
    }
    held.addLockspace(path);
    return undefined;
  }

  #acquire(
    connection: Connection,
    frame: RpcFrame,
    owner: LockdOwner,
    { path: lockspace, name, flags }: LockCall & { call: 'acquire' },
  ): RpcError | undefined | 'later' {
    if ((flags & ~(acquireFlag.shared | acquireFlag.autocreate)) !== 0)
      return answers.unsupportedFlags(flags);
    const { table, held, report } = this.#options;
    if (!table.hasLockspace(lockspace)) return answers.noSuchLockspace(lockspace);
    if (!isResourceName(lockspace, name)) return answers.notAName(name);
    const shared = (flags & acquireFlag.shared) !== 0;
    const facts = { lockspace, name, shared, guest: owner.name, pid: owner.pid };
    const known = table.get(lockspace, name);
    if (known !== undefined) {
      const refusal = this.#acquireKnown(known, shared, owner);
      report({ what: refusal === undefined ? 'acquired' : 'refused', facts });
      return refusal;
    }
    const autocreate = (flags & acquireFlag.autocreate) !== 0;
    const lock = held.take({ lockspace, name, shared, autocreate }, owner);
    if (!('failed' in lock)) {
      this.#options.owners.needExactly(owner.pid, owner.startTime);
      report({ what: 'acquired', facts });
      return undefined;
    }
    report({ what: 'refused', facts });
    const path = pathOf(lockspace, name);
    if (lock.failed === 'system') return systemAnswer(`Unable to open/create resource ${path}`, lock.errno);
    const token = ++this.#lastToken;
    connection.waiting++;
    this.#questions.set(token, {
      connection,
      frame: { procedure: frame.procedure, serial: frame.serial },
      name,
    });
    this.#options.explain(token, path);
    return 'later';
  }

  #acquireKnown(lock: Lock, shared: boolean, owner: LockdOwner): RpcError | undefined {
    const { held, owners } = this.#options;
    const own = lock.owners.some((one) => sameOwner(one, owner));
    if (own && lock.doubtful && lock.shared === shared) {
      held.change(lock, { doubtful: false });
      return undefined;
    }
    if (!lock.shared || !shared) return answers.isLocked(lock.name, answers.ownersInWords(lock));
    held.change(lock, { owners: [...lock.owners, owner] });
    owners.needExactly(owner.pid, owner.startTime);
    return undefined;
  }

  #release(
    owner: LockdOwner,
    { path: lockspace, name, flags }: LockCall & { call: 'release' },
  ): RpcError | undefined {
    if (flags !== 0) return answers.unsupportedFlags(flags);
    const { table, report } = this.#options;
    if (!table.hasLockspace(lockspace)) return answers.noSuchLockspace(lockspace);
    const lock = table.get(lockspace, name);
    if (lock === undefined) return answers.isNotLocked(name);
    const index = lock.owners.findIndex((one) => one.pid === owner.pid && one.startTime === owner.startTime);
    if (index === -1) return answers.otherOwner(owner.pid);
    this.#removeOwners(lock, lock.owners.toSpliced(index, 1));
    report({ what: 'released', facts: { lockspace, name, guest: owner.name, pid: owner.pid } });
    return undefined;
  }

  #removeOwners(lock: Lock, left: readonly LockdOwner[]): void {
    const { held, owners } = this.#options;
    const gone = lock.owners.filter((one) => !left.includes(one));
    if (left.length === 0) held.giveBack(lock);
    else held.change(lock, { owners: left });
    for (const { pid } of gone) owners.noLongerNeeds(pid);
  }

  #ownerEnded(fd: number): void {
    const { owners, table, report } = this.#options;
    const ended = owners.ended(fd);
    if (ended === undefined) return;
    const locks = table.heldBy(ended.pid);
    for (const lock of locks)
      this.#removeOwners(
        lock,
        lock.owners.filter(({ pid }) => pid !== ended.pid),
      );
    if (locks.length > 0) report({ what: 'owner ended', facts: { pid: ended.pid, locks: locks.length } });
  }

  #answer(
    connection: Connection,
    frame: Pick<RpcFrame, 'procedure' | 'serial'>,
    error: RpcError | undefined,
  ): void {
    if (!this.#connections.has(connection.fd)) return;
    const before = connection.hasUnsent;
    if (!connection.send(encodeLockReply(frame, error))) return this.#close(connection);
    if (connection.hasUnsent !== before) this.#watchWriting(connection);
  }

  #flush(connection: Connection): boolean {
    if (!connection.send(Buffer.alloc(0))) {
      this.#close(connection);
      return false;
    }
    this.#watchWriting(connection);
    return true;
  }

  #watchWriting(connection: Connection): void {
    this.#options.epoll.change(connection.fd, connection.hasUnsent ? readable | writable : readable);
  }

  #close(connection: Connection): void {
    const { epoll, owners, table } = this.#options;
    if (!this.#connections.delete(connection.fd)) return;
    epoll.remove(connection.fd);
    connection.close();
    for (const [token, question] of this.#questions) {
      if (question.connection === connection) this.#questions.delete(token);
    }
    const { owner, peer } = connection;
    if (owner === undefined) return;
    if (peer.pid === owner.pid && table.heldBy(owner.pid).length > 0) owners.end(owner.pid, monotonicMs());
    owners.noLongerNeeds(owner.pid);
  }
}

/** In a lockspace directory a name is one file's; in the direct lockspace it is a path. */
function isResourceName(lockspace: string, name: string): boolean {
  if (name.includes('\0')) return false;
  if (lockspace === '') return name.startsWith('/');
  return name !== '' && name !== '.' && name !== '..' && !name.includes('/');
}

function systemAnswer(what: string, errno: number): RpcError {
  const [, text = `error ${errno}`] = getSystemErrorMap().get(-errno) ?? [];
  return answers.systemFailure(what, errno, text);
}

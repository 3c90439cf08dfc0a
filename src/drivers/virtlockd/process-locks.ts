/**
 * What this process has locked through one virtlockd, over one connection.
 *
 * One, because virtlockd counts by process: when any connection closes that this process made, all is given back
 * that this process holds, and the process is killed if that was anything. With a single one, whose descriptor every
 * grant hands on, the locks last until this process and all that inherited from it have ended: some longer than they
 * need, none shorter.
 */
import { HoldfastError } from '../../errors.js';
import { acquireFlag } from '../../protocol/lock-protocol.js';
import { rpcErrorCode, type RpcError } from '../../protocol/rpc-error.js';
import type { Owner } from '../../vocabulary.js';
import { LockConnection } from './lock-connection.js';
import type { LockName } from './lock-names.js';

const ENOENT = 2;
const watchMs = 500;

/** virtlockd's answer to a lock that is not given: `busy`, or an error of another kind. */
export type LockAnswer = RpcError | undefined;

/** The connection and what virtlockd knows of it. */
interface Session {
  readonly connection: LockConnection;
  readonly lockspaces: Set<string>;
  /** Called when virtlockd is gone, and with it all that it kept. */
  readonly whenLost: Set<(reason: HoldfastError) => void>;
  registered: boolean;
}

const exclusive = -1;
const keyOf = ({ lockspace, name }: LockName): string => `${lockspace}\0${name}`;
const processLocks = new Map<string, ProcessLocks>();

export class ProcessLocks {
  readonly #socketPath: string;
  #session: Session | undefined;
  /** By lockspace and name: how many shared ones, or `exclusive`. */
  readonly #held = new Map<string, number>();
  /** Asked for, and not answered in time: virtlockd may have given them. */
  readonly #doubtful: LockName[] = [];
  #queue: Promise<unknown> = Promise.resolve();
  #watch: NodeJS.Timeout | undefined;

  private constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Those of this process for a socket: all drivers that use it share them. */
  static of(socketPath: string): ProcessLocks {
    const locks = processLocks.get(socketPath) ?? new ProcessLocks(socketPath);
    processLocks.set(socketPath, locks);
    return locks;
  }

  /** One after another: calls of two callers never mix. */
  inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  /**
   * A connection that works, and the locks of doubt given back. Only in turn.
   * @throws HoldfastError DRIVER_FAILED, NOT_PERMITTED
   */
  async connected(): Promise<Session> {
    this.#noticeLoss();
    this.#session ??= {
      connection: LockConnection.open(this.#socketPath),
      lockspaces: new Set(),
      whenLost: new Set(),
      registered: false,
    };
    for (let name = this.#doubtful.pop(); name !== undefined; name = this.#doubtful.pop()) {
      await this.#release(this.#session, name);
    }
    return this.#session;
  }

  /**
   * The same, with an owner that virtlockd knows: the first one, for all that this process holds. It tells
   * holders apart by pid alone. Only in turn.
   */
  async registered({ uuid, name, id = 0 }: Pick<Owner, 'name' | 'uuid' | 'id'>): Promise<Session> {
    const session = await this.connected();
    if (session.registered) return session;
    const error = await session.connection.call({
      call: 'register',
      owner: {
        uuid: Buffer.from(uuid.replaceAll('-', ''), 'hex'),
        name,
        // virtlockd refuses 0, and a plain command has no number of libvirt's.
        id: id > 0 ? id : process.pid,
        // The process that connected, whoever the owner says it is: virtlockd watches this one's connection.
        pid: process.pid,
      },
      flags: 0,
    });
    if (error !== undefined) throw refusedCall('to register', error);
    session.registered = true;
    return session;
  }

  /** Asks for one lock. Undefined: it is held now. Only in turn. @throws HoldfastError DRIVER_FAILED */
  async acquire(session: Session, name: LockName, shared: boolean): Promise<LockAnswer> {
    const before = this.#held.get(keyOf(name));
    if (before !== undefined && (before === exclusive || !shared)) return busyHere(name);
    const { connection, lockspaces } = session;
    if (name.lockspace !== '' && !lockspaces.has(name.lockspace)) {
      const error = await connection.call({ call: 'createLockspace', path: name.lockspace });
      if (error !== undefined) return error;
      lockspaces.add(name.lockspace);
    }
    const flags =
      (shared ? acquireFlag.shared : 0) | (name.kind === 'temporary' ? acquireFlag.autocreate : 0);
    const call = { path: name.lockspace, name: name.name, flags };
    const ask = async (): Promise<LockAnswer> => {
      try {
        return await connection.call({ call: 'acquire', ...call });
      } catch (error) {
        if (connection.failure === undefined) this.#doubtful.push(name);
        throw error;
      }
    };
    let error = await ask();
    if (name.kind === 'lasting' && error?.code === rpcErrorCode.system && error.int1 === ENOENT) {
      error = (await connection.call({ call: 'createResource', ...call, flags: 0 })) ?? (await ask());
    }
    if (error !== undefined) return error;
    this.#held.set(keyOf(name), shared ? (before ?? 0) + 1 : exclusive);
    this.#watchPeer();
    return undefined;
  }

  /** Gives back, in reverse; what virtlockd does not know of any longer is no error. Only in turn. */
  async release(session: Session, names: readonly LockName[]): Promise<void> {
    if (session !== this.#session) return; // It is gone, and all that it had.
    let failure: unknown;
    for (const name of names.toReversed()) {
      const count = this.#held.get(keyOf(name)) ?? 0;
      if (count > 1) this.#held.set(keyOf(name), count - 1);
      else this.#held.delete(keyOf(name));
      if (failure !== undefined) {
        this.#doubtful.push(name);
        continue;
      }
      await this.#release(session, name).catch((error: unknown) => (failure = error));
    }
    if (this.#held.size === 0) this.#stopWatching();
    if (failure !== undefined) throw failure;
  }

  async #release({ connection }: Session, name: LockName): Promise<void> {
    try {
      // An error says that it is not held: then there is nothing to give back.
      await connection.call({ call: 'release', path: name.lockspace, name: name.name, flags: 0 });
    } catch (error) {
      this.#noticeLoss();
      if (this.#session === undefined) return; // Given back with all else.
      this.#doubtful.push(name);
      throw error;
    }
  }

  /** Keeps no process alive. After exec nobody looks any longer: the driver says so of itself. */
  #watchPeer(): void {
    this.#watch ??= setInterval(() => this.#noticeLoss(), watchMs).unref();
  }

  #stopWatching(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** A connection that does not work is not closed: its number stands in grants, which somebody may still hand on. */
  #noticeLoss(): void {
    const session = this.#session;
    if (session === undefined || session.connection.stillThere()) return;
    this.#stopWatching();
    this.#session = undefined;
    this.#held.clear();
    this.#doubtful.length = 0;
    const reason = session.connection.failure ?? new HoldfastError('DRIVER_FAILED', 'virtlockd is gone');
    for (const tell of session.whenLost) tell(reason);
  }
}

export type LockSession = Session;

/** What virtlockd would say; another server may think that the same process asks again after a lost reply. */
function busyHere({ name }: LockName): RpcError {
  const message = `this process has '${name}' already`;
  return { code: rpcErrorCode.resourceBusy, domain: 0, message, level: 2, int1: 0, int2: 0 };
}

/** An error that is virtlockd's fault, or ours: nothing that a user did. */
export function refusedCall(what: string, { code, domain, message }: RpcError): HoldfastError {
  return new HoldfastError('DRIVER_FAILED', `virtlockd refused ${what}: ${message ?? `error ${code}`}`, {
    cause: new Error(`libvirt error ${code}, domain ${domain}: ${message ?? ''}`),
    remedy: 'See its log.',
  });
}

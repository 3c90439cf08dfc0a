/**
 * What all calls of one started driver share: the client, and the session under whose lease everything stands that it holds.
 * Both are made at first use: who only asks who holds something needs no lease. A session that was lost is replaced at the
 * next use; what was held under it stays lost.
 */
import { HoldfastError } from '../../errors.js';
import { hostName, machineId } from '../../system/host.js';
import { processStartTime } from '../../system/process.js';
import { EtcdClient } from './client/etcd-client.js';
import { asClusterError } from './client/etcd-failure.js';
import type { EtcdSettings } from './etcd-settings.js';
import { Keys } from './keys.js';
import { openSession, type Session } from './session/open-session.js';
import { versionNote } from './version-note.js';

/** What could not be done is tried again after so long. */
const againMs = 1_000;

export class Connection {
  readonly settings: EtcdSettings;
  readonly keys: Keys;
  /** Of this host. */
  readonly hostId: string;
  #client: Promise<EtcdClient> | undefined;
  #session: Promise<Session> | undefined;
  #opened: Session | undefined;
  #version: Promise<void> | undefined;
  #holders = 0;
  readonly #notes = new Set<string>();
  readonly #chores = new Set<NodeJS.Timeout>();
  #ended = false;

  constructor(settings: EtcdSettings) {
    this.settings = settings;
    this.keys = new Keys(settings.prefix);
    this.hostId = machineId();
  }

  /** What is to be said of the cluster, as far as it is known yet. */
  get notes(): readonly string[] {
    return [...this.#notes];
  }

  /** Whatever happens to our keys from now on, we did ourselves. */
  get ended(): boolean {
    return this.#ended;
  }

  async client(): Promise<EtcdClient> {
    if (this.#ended) throw new HoldfastError('ENDED', 'the driver etcd has ended');
    this.#client ??= EtcdClient.open(this.settings.client).catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    });
    return this.#client;
  }

  /** The session, which is opened if there is none. Throws `CLUSTER_...`. */
  async session(): Promise<Session> {
    if (this.#ended) throw new HoldfastError('ENDED', 'the driver etcd has ended');
    this.#session ??= this.#open();
    return this.#session;
  }

  /** The next one who needs a session opens another. */
  forget(session: Session): void {
    if (this.#opened === session) this.#session = this.#opened = undefined;
  }

  /** A name that no other transaction of this cluster has. */
  newHolder(session: Session): string {
    this.#holders += 1;
    return `${session.leaseId.toString(16)}.${this.#holders.toString(16)}`;
  }

  /** Does it, again and again until it succeeds or the session's keys are gone anyway. */
  untilDone(session: Session, chore: () => Promise<unknown>): void {
    let over = false;
    void session.lost.then(() => (over = true));
    const again = (): void => {
      const timer = setTimeout(() => {
        this.#chores.delete(timer);
        if (!over && !this.#ended) void chore().catch(again);
      }, againMs);
      timer.unref();
      this.#chores.add(timer);
    };
    again();
  }

  /**
   * Asks one server for its version, once, for `notes`: who looks before locking asks for it, who locks pays nothing for it.
   * Nothing depends on it: a server that does not say its version is used all the same.
   */
  lookAtVersion(): Promise<void> {
    return (this.#version ??= this.#askVersion());
  }

  async #askVersion(): Promise<void> {
    const status = await (await this.client()).status().catch(() => undefined);
    const note = status === undefined ? undefined : versionNote(status.version);
    if (note !== undefined) this.#notes.add(note);
  }

  /** Ends the session, and with it all that is held under it. */
  async end(): Promise<void> {
    this.#ended = true;
    for (const timer of this.#chores) clearTimeout(timer);
    const session = await this.#session?.catch(() => undefined);
    const client = await this.#client?.catch(() => undefined);
    try {
      await session?.end();
    } catch (error) {
      throw asClusterError(error, 'the lease could not be given back, and ends by itself');
    } finally {
      client?.close();
    }
  }

  async #open(): Promise<Session> {
    const { settings, keys } = this;
    const value = JSON.stringify({
      host: hostName(),
      hostId: this.hostId,
      pid: process.pid,
      startTime: processStartTime(process.pid) ?? 0,
      since: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
    });
    try {
      // A short command has one connection; a longer one's thread for renewals has its own.
      const session = await openSession(
        settings.client,
        settings.timings,
        { key: (lease) => keys.session(lease), value },
        await this.client(),
      );
      this.#opened = session;
      void session.lost.then(() => this.forget(session));
      return session;
    } catch (error) {
      this.#session = undefined;
      throw asClusterError(error, 'no lease could be had');
    }
  }
}

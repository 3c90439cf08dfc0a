/**
 * Waiting in the order of arrival.
 *
 * Who was refused puts a ticket (`locks/IDENTITY/waiting/HOLDER`) on what was in use, under its own lease, and watches it. Who
 * has no ticket is refused as long as somebody waits; who has one, as long as somebody waits who came before. A ticket that is
 * on another identity counts from the same moment, so that of two who wait for each other's queue the older one goes first.
 *
 * A ticket that nobody comes back for within a second is removed, so that who gave up holds nobody up.
 */
import { HoldfastError } from '../../errors.js';
import type { LockRequest, Owner } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import type { Connection } from './connection.js';
import { ownerFields, recordText } from './lock-record.js';
import { lookFor } from './look-for.js';
import { isMissing, tooMany, type Blocker, type Turn, type Wanted } from './lock-transaction.js';
import type { Session } from './session/open-session.js';
import { deleteKeys, wantedBy } from './take-locks.js';

/** How long a ticket outlives the last question of whoever has it. */
const ticketMs = 1_000;
/** However well the watch works: so often it is looked at again. */
const lookAgainMs = 5_000;

/** The place in the queue of one owner that wants the same. */
export interface Ticket {
  readonly session: Session;
  readonly holder: string;
  /** The keys in etcd, by identity. */
  readonly keys: Map<string, string>;
  /** The revision of the first of them: since when it waits. */
  since: number;
  /** The identities that were contested when it was last refused, and in which revision. */
  refused: { readonly identities: ReadonlySet<string>; readonly revision: number } | undefined;
  /** How many calls use it now. */
  users: number;
  timer: NodeJS.Timeout | undefined;
}

export class Queue {
  readonly #connection: Connection;
  readonly #tickets = new Map<string, Ticket>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The ticket of an owner for these requests; it stays as long as it is used. */
  use(session: Session, owner: Owner, requests: readonly LockRequest[]): Ticket {
    const name = nameOf(owner, requests);
    let ticket = this.#tickets.get(name);
    if (ticket === undefined || ticket.session !== session) {
      const holder = this.#connection.newHolder(session);
      ticket = { session, holder, keys: new Map(), since: 0, refused: undefined, users: 0, timer: undefined };
      this.#tickets.set(name, ticket);
    }
    ticket.users += 1;
    clearTimeout(ticket.timer);
    return ticket;
  }

  /** No longer used; without a further use it is removed in a second, or at once where there is nothing in etcd. */
  leave(ticket: Ticket): void {
    ticket.users -= 1;
    if (ticket.users > 0) return;
    if (ticket.keys.size === 0 && ticket.refused === undefined) return this.#forget(ticket);
    ticket.timer = setTimeout(() => {
      this.#forget(ticket);
      this.#remove(ticket);
    }, ticketMs);
  }

  /** Its keys went with the transaction that granted the locks. */
  granted(ticket: Ticket): void {
    ticket.keys.clear();
    ticket.refused = undefined;
  }

  /** Nobody waits any longer. */
  end(): void {
    for (const { timer } of this.#tickets.values()) clearTimeout(timer);
    this.#tickets.clear();
  }

  /** Returns when it is worth asking; throws `ABORTED`, `CLUSTER_...`. */
  async wait(
    ticket: Ticket,
    owner: Owner,
    requests: readonly LockRequest[],
    signal: AbortSignal,
  ): Promise<void> {
    const wanted = wantedBy(this.#connection, requests);
    try {
      for (;;) {
        requireGoingOn(signal);
        const contested = await this.#contested(ticket, owner, wanted);
        if (contested === undefined) return;
        ticket.refused = undefined; // From here on only what is looked at anew counts.
        await this.#change(contested.identities, contested.revision, signal);
      }
    } catch (error) {
      throw asClusterError(error, 'the wait for the locks failed');
    }
  }

  /** What is in the way, with tickets on it; undefined: nothing. */
  async #contested(
    ticket: Ticket,
    owner: Owner,
    wanted: readonly Wanted[],
  ): Promise<NonNullable<Ticket['refused']> | undefined> {
    const refused = ticket.refused ?? (await this.#look(ticket, wanted));
    if (refused === undefined) return undefined;
    const without = wanted.filter(
      ({ identity }) => refused.identities.has(identity) && !ticket.keys.has(identity),
    );
    if (without.length === 0) return refused;
    await this.#putTickets(ticket, owner, without);
    return this.#look(ticket, wanted);
  }

  async #putTickets(ticket: Ticket, owner: Owner, wanted: readonly Wanted[]): Promise<void> {
    const { keys, settings } = this.#connection;
    if (wanted.length > settings.maxOperations) throw tooMany(wanted.length, settings.maxOperations);
    const { holder, session } = ticket;
    const common = JSON.stringify(ownerFields(owner, holder));
    const placed = wanted.map(({ request, identity }) => ({
      identity,
      key: keys.lock({ identity, mode: 'waiting', holder }),
      value: recordText(common, request),
    }));
    // Known before it is put: it is removed even if the answer does not come.
    for (const { identity, key } of placed) ticket.keys.set(identity, key);
    const client = await this.#connection.client();
    const put = placed.map(({ key, value }) => ({ put: { key, value, lease: session.leaseId } }));
    const missing = [isMissing(keys.voided(holder))];
    const { header } = await client
      .txn({ compare: missing, success: put, failure: [] })
      .catch((error: unknown) => {
        // It may be there or come yet; whoever asks next has another, and this one goes.
        this.#forget(ticket);
        this.#withdraw(ticket);
        throw error;
      });
    if (ticket.since === 0) ticket.since = header?.revision ?? 0;
  }

  async #look(ticket: Ticket, wanted: readonly Wanted[]): Promise<Ticket['refused']> {
    const { blockers, revision } = await lookFor(this.#connection, wanted);
    this.#removeLeft(ticket.session, blockers);
    const identities = new Set(
      blockers.filter((one) => isBefore(ticket, one)).map(({ wanted: one }) => one.identity),
    );
    return identities.size === 0 ? undefined : { identities, revision };
  }

  /** Returns when something was given back, when nothing was for some time, or when it is not known any more what was. */
  async #change(identities: ReadonlySet<string>, revision: number, signal: AbortSignal): Promise<void> {
    const client = await this.#connection.client();
    const { keys } = this.#connection;
    await new Promise<void>((resolve) => {
      const ends: (() => void)[] = [];
      const end = (): void => {
        for (const one of ends) one();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, lookAgainMs);
      ends.push(() => clearTimeout(timer));
      for (const identity of identities) {
        const range = { ...keys.all(identity), startRevision: revision + 1 };
        ends.push(client.watch(range, { onDelete: end, onGap: end }));
      }
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
    });
  }

  #forget(ticket: Ticket): void {
    for (const [name, one] of this.#tickets) if (one === ticket) this.#tickets.delete(name);
  }

  /**
   * Of a ticket that was sent and not answered: a server that stood still may take note of it at any time, also after it was
   * removed. So it is made void by a key that it demands to be missing.
   */
  #withdraw({ holder, keys, session }: Ticket): void {
    const all = [...keys.values()];
    const put = { key: this.#connection.keys.voided(holder), value: '', lease: session.leaseId };
    const withdraw = async (): Promise<void> => {
      const client = await this.#connection.client();
      await client.idempotentTxn({ compare: [], success: [{ put }], failure: [] });
      await deleteKeys(this.#connection, all);
    };
    void withdraw().catch(() => this.#connection.untilDone(session, withdraw));
  }

  /** Tickets of this session that nobody here has any more would hold up everybody for as long as the session lives. */
  #removeLeft({ leaseId }: Session, blockers: readonly Blocker[]): void {
    const known = new Set([...this.#tickets.values()].map(({ holder }) => holder));
    const left = blockers.filter(
      ({ lock, kv }) => lock.mode === 'waiting' && kv.lease === leaseId && !known.has(lock.holder),
    );
    if (left.length === 0) return;
    const keys = left.map(({ kv }) => kv.key.toString('utf8'));
    void deleteKeys(this.#connection, keys).catch(() => undefined); // The next look finds them again.
  }

  #remove({ keys, session }: Ticket): void {
    const all = [...keys.values()];
    if (all.length === 0) return;
    const remove = (): Promise<void> => deleteKeys(this.#connection, all);
    void remove().catch(() => this.#connection.untilDone(session, remove));
  }
}

/** Whose turn it is on an identity, for who has this ticket. `crowded`: identities on which others are known to wait. */
export function turnOf(ticket: Ticket, crowded: ReadonlySet<string>): (identity: string) => Turn {
  return (identity) =>
    ticket.since > 0 && (ticket.keys.has(identity) || crowded.has(identity)) ? ticket.since : 'nobody waits';
}

/** Whether it has to be waited for: a lock has, one's own ticket has not, nor one that came later. */
export function isBefore(ticket: Ticket, { lock, kv }: Blocker): boolean {
  if (lock.mode !== 'waiting') return true;
  if (lock.holder === ticket.holder) return false;
  return ticket.since === 0 || kv.createRevision < ticket.since;
}

function requireGoingOn(signal: AbortSignal): void {
  if (signal.aborted) {
    throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', { cause: signal.reason });
  }
}

function nameOf({ uuid, pid, startTime }: Owner, requests: readonly LockRequest[]): string {
  return JSON.stringify([
    uuid,
    pid,
    startTime,
    requests.map(({ resource, mode }) => [resource.identity, mode]),
  ]);
}

/**
 * Guarantees: all four modes, all or nothing, inside this process; every function of the contract.
 * Does not guarantee: anything between two processes. Nothing outlives the process.
 * Depends on: nothing.
 *
 * The model of the contract: what it does is what a driver should do, and property tests compare the real
 * drivers with it. Each started driver has a table of its own; with the setting `space` those that name the
 * same space share one. Grants are separate: an owner that holds a disk exclusively and asks again is refused
 * like anyone else.
 */
import { randomUUID } from 'node:crypto';
import { defineDriver, HoldfastError } from '../../driver/contract.js';
import type { Driver, DriverSettings, Grant } from '../../driver/contract.js';
import type { Holder, LockRequest, Mode } from '../../vocabulary.js';
import { modes } from '../../vocabulary.js';
import { LockTable } from './lock-table.js';
import type { Blocked, Session } from './lock-table.js';

/** Tables that several started drivers of this process share, for as long as the process runs. */
const spaces = new Map<string, LockTable>();
const sessions = new WeakMap<Grant, Session>();
/** Open offers, by ticket. Not in the table: a ticket has to be found from another started driver. */
const offers = new Map<string, { readonly table: LockTable; readonly session: Session }>();

const reachNote = 'locks of the driver `memory` are known to this process alone';

export default defineDriver(
  {
    name: 'memory',
    reach: 'process',
    modes,
    guarantees: ['of the users of one table in this process, no two have incompatible modes'],
    doesNotGuarantee: ['that other processes are kept out', 'that anything outlives the process'],
    supervise: true,
  },
  (settings) => memoryDriver(tableFor(settings)),
);

function tableFor(settings: DriverSettings): LockTable {
  const { space } = settings;
  if (space === undefined) return new LockTable('memory');
  if (typeof space !== 'string' || space === '') {
    throw new HoldfastError('CONFIG', 'driver memory: `space` has to be a name', {
      remedy: 'Give `space` a string, or leave it out for a table of its own.',
    });
  }
  const table = spaces.get(space) ?? new LockTable(space);
  spaces.set(space, table);
  return table;
}

function memoryDriver(table: LockTable): Driver {
  return {
    async acquire(owner, requests, { signal, state }) {
      refuseIfAborted(signal);
      const session = table.open(owner);
      takeAll(table, session, requests);
      if (state !== undefined) requireUntouched(table, session, state);
      return grantOf(session);
    },
    async release(grant) {
      const session = sessionOf(grant);
      withdrawOffers(session);
      table.move(session, 'ended');
    },
    async holders(resource) {
      return holdersOf(table.holders(resource.identity));
    },
    async extend(grant, _owner, requests, { signal }) {
      refuseIfAborted(signal);
      const session = activeSession(grant);
      const twice = requests.find(({ resource }) => session.requests.has(resource.identity));
      if (twice !== undefined) {
        throw new HoldfastError('USAGE', `${twice.resource.label} is part of this grant already`);
      }
      takeAll(table, session, requests);
      return grantOf(session);
    },
    async shrink(grant, identities) {
      const session = activeSession(grant);
      table.drop(session, identities);
      return grantOf(session);
    },
    async suspend(grant) {
      const session = activeSession(grant);
      withdrawOffers(session);
      table.move(session, 'suspended');
    },
    async resume(grant, { signal }) {
      const session = sessionOf(grant);
      if (session.state !== 'suspended') throw ended('The grant is not suspended');
      refuseIfAborted(signal);
      if (session.lostLabels.size > 0) throw lostWhileAsleep(table, session);
      table.move(session, 'held');
      return grantOf(session);
    },
    async offer(grant) {
      const session = activeSession(grant);
      const ticket = randomUUID();
      offers.set(ticket, { table, session });
      return { ticket };
    },
    async accept(offer, owner, { signal }) {
      refuseIfAborted(signal);
      const open = offers.get(offer['ticket'] ?? '');
      if (open === undefined) throw ended('The offer was accepted, taken back, or never made');
      const session = open.table.open(owner);
      withdrawOffers(open.session);
      open.table.handOver(open.session, session);
      return grantOf(session);
    },
    async cancel(grant, offer) {
      if (sessionOf(grant).state === 'ended') throw ended('The offer was accepted, or the grant released');
      offers.delete(offer['ticket'] ?? '');
    },
    async inquire(grant) {
      return JSON.stringify(Object.fromEntries(activeSession(grant).tokens));
    },
    async adopt(owner, requests) {
      for (const [session] of requests.flatMap(({ resource }) => table.holders(resource.identity))) {
        if (isOwner(session, owner) && holdsExactly(session, requests)) return grantOf(session);
      }
      throw new HoldfastError('LOST', `${owner.name} does not hold what its record says`);
    },
    async breakLock(resource, evidence) {
      table.breakLocks(resource.identity, `its lock was broken: ${evidence}`);
    },
    async wait(_owner, requests, { signal }) {
      while (table.blocked(requests).length > 0) {
        refuseIfAborted(signal);
        await nextChange(table, signal);
      }
    },
    mapRequest: ({ mode }) => ({ can: true, mode }),
    async probe(requests) {
      return requests.map((request) => {
        const inTheWay = table.blocked([request]).flatMap(({ by }) => by);
        const holders = table.holders(request.resource.identity);
        return {
          identity: request.resource.identity,
          free: inTheWay.length === 0,
          holders: holdersOf(holders.filter(([session]) => inTheWay.includes(session))),
        };
      });
    },
    notes: () => [reachNote],
    // A holder that died took the table with it: there is nothing to tidy, and nothing to end.
    async tidy() {},
    async end() {},
  };
}

/** A grant is a snapshot; every grant of one session gives back the same session. */
function grantOf(session: Session): Grant {
  const grant: Grant = {
    requests: [...session.requests.values()],
    descriptors: [],
    tokens: Object.fromEntries(session.tokens),
    notes: [reachNote],
    lost: session.lost,
  };
  sessions.set(grant, session);
  return grant;
}

function sessionOf(grant: Grant): Session {
  const session = sessions.get(grant);
  if (session === undefined) throw new HoldfastError('USAGE', 'The grant is not one of the driver memory');
  return session;
}

function activeSession(grant: Grant): Session {
  const session = sessionOf(grant);
  if (session.state !== 'held') throw ended(`The grant is ${session.state}`);
  if (session.lostLabels.size > 0) {
    throw new HoldfastError('LOST', `The lock was broken on ${[...session.lostLabels].join(', ')}`);
  }
  return session;
}

function takeAll(table: LockTable, session: Session, requests: readonly LockRequest[]): void {
  const [first] = table.take(session, requests);
  if (first !== undefined) throw inUse(table, first);
}

/** Throws `LOST` if others had it since that state, `BAD_DATA` if the state does not say; then nothing is held. */
function requireUntouched(table: LockTable, session: Session, state: string): void {
  const before = tokensOf(state);
  for (const [identity, { resource }] of session.requests) {
    const others = table.hadOthers(identity, before[identity] ?? '', session.tokens.get(identity));
    if (others === false) continue;
    table.move(session, 'ended');
    const { label } = resource;
    if (others === undefined) throw new HoldfastError('BAD_DATA', `The state says nothing of ${label}`);
    throw new HoldfastError('LOST', `Somebody else had ${label} meanwhile`, { resource: label });
  }
}

function tokensOf(state: string): Readonly<Record<string, string>> {
  try {
    return Object(JSON.parse(state)) as Record<string, string>;
  } catch {
    return {};
  }
}

function inUse(table: LockTable, { request, by }: Blocked): HoldfastError {
  const { label, identity } = request.resource;
  const holders = table.holders(identity).filter(([session]) => by.includes(session));
  return new HoldfastError('IN_USE', `${label} is in use (asked for: ${request.mode})`, {
    resource: label,
    mode: request.mode,
    holders: holdersOf(holders),
  });
}

function lostWhileAsleep(table: LockTable, session: Session): HoldfastError {
  const labels = [...session.lostLabels];
  table.move(session, 'ended');
  return new HoldfastError('LOST', `While it was suspended, someone else had ${labels.join(', ')}`, {
    resource: labels.join(', '),
  });
}

function holdersOf(held: readonly (readonly [Session, Mode])[]): Holder[] {
  return held.map(([{ owner, since }, mode]) => ({
    ...(owner.kind === 'domain' ? { guest: owner.name } : { program: owner.name }),
    uuid: owner.uuid,
    pid: owner.pid,
    startTime: owner.startTime,
    host: owner.host,
    since,
    mode,
    through: ['Holdfast, driver memory'],
    evidence: [],
  }));
}

function isOwner({ owner }: Session, other: Session['owner']): boolean {
  return owner.uuid === other.uuid && owner.pid === other.pid && owner.startTime === other.startTime;
}

function holdsExactly({ requests: held }: Session, requests: readonly LockRequest[]): boolean {
  return (
    held.size === requests.length &&
    requests.every(({ resource, mode }) => held.get(resource.identity)?.mode === mode)
  );
}

function withdrawOffers(session: Session): void {
  for (const [ticket, offer] of offers) if (offer.session === session) offers.delete(ticket);
}

function nextChange(table: LockTable, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      forget();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const forget = table.onChange(done);
    signal.addEventListener('abort', done, { once: true });
  });
}

function refuseIfAborted(signal: AbortSignal): void {
  if (signal.aborted) {
    throw new HoldfastError('ABORTED', 'The caller gave up; nothing was locked', { cause: signal.reason });
  }
}

function ended(message: string): HoldfastError {
  return new HoldfastError('ENDED', message);
}

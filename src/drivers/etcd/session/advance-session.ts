/**
 * The state machine of a session: pure functions, no clock, no network. `session-state.ts` explains the states.
 *
 * Invariants:
 * - `confirmedAtMs` only grows, and is always the moment before a renewal was sent that etcd has confirmed.
 * - Whatever the event: first the clock. At `loseAt` a session is lost, even if the event would have confirmed a renewal (a
 *   process that was stopped finds its deadline and the answer at once, and others have acted on the deadline).
 * - From lost nothing leads back.
 */
import { guaranteeFrom, type Timings } from '../timings.js';
import type { Round, SessionEvent, SessionState, SessionStep } from './session-state.js';

/** Rounds that hang must not pile up; with so many in one deadline each of several endpoints has its turn. */
export const roundsMax = 5;
/** What failed at once is tried again after this part of an interval. */
const retryShare = 1 / 4;

export interface GrantedLease {
  readonly clusterId: bigint;
  /** CLOCK_BOOTTIME before the grant was asked for. */
  readonly sentAtMs: number;
  readonly endpoints: number;
  /** The endpoint that granted it. */
  readonly endpoint: number;
}

/** The state after a grant, and the first command. */
export function startSession(lease: GrantedLease, timings: Timings): SessionStep {
  const { clusterId, sentAtMs, endpoints, endpoint } = lease;
  const state: SessionState = {
    phase: 'starting',
    clusterId,
    endpoints,
    confirmedAtMs: sentAtMs,
    markRevision: undefined,
    rounds: [],
    nextRound: 1,
    nextRoundAtMs: sentAtMs + timings.renewIntervalMs,
    lastRoundAtMs: sentAtMs,
    endpoint: (endpoint + 1) % endpoints,
    lastTrouble: undefined,
    lossReason: undefined,
  };
  return { state, commands: [{ command: 'mark', endpoint }] };
}

/** The state for somebody else who goes on from here: what is under way is not known to it, so the next round starts at once. */
export function resumeSession(state: SessionState, confirmedAtMs: number, nowMs: number): SessionState {
  return {
    ...state,
    confirmedAtMs: Math.max(state.confirmedAtMs, confirmedAtMs),
    rounds: [],
    nextRoundAtMs: nowMs,
  };
}

/** When the machine wants to be told the time, if nothing else happens before. */
export function wakeAtMs(state: SessionState, timings: Timings): number {
  if (!isAlive(state)) return Infinity;
  return Math.min(state.nextRoundAtMs, guaranteeFrom(state.confirmedAtMs, timings).loseAtMs);
}

/** One event: the state after it, and what is to be done. */
export function advanceSession(state: SessionState, event: SessionEvent, timings: Timings): SessionStep {
  if (event.event === 'end') return end(state);
  if (!isAlive(state)) return unchanged(state);
  if (event.nowMs >= guaranteeFrom(state.confirmedAtMs, timings).loseAtMs) {
    const sinceMs = Math.round(event.nowMs - state.confirmedAtMs);
    const trouble = state.lastTrouble ?? 'etcd did not answer';
    return lose(state, `no renewal was confirmed for ${sinceMs} ms (${trouble})`);
  }
  switch (event.event) {
    case 'time':
      return startDue(state, event.nowMs, timings);
    case 'marked':
      if (state.phase !== 'starting') return unchanged(state);
      return unchanged({
        ...state,
        phase: 'certain',
        markRevision: event.createRevision,
        endpoint: event.endpoint,
        // The grant may have been long ago, if its answer was slow.
        nextRoundAtMs: Math.max(event.nowMs, state.confirmedAtMs + timings.renewIntervalMs),
      });
    case 'kept':
      return kept(state, event, timings);
    case 'read':
      return read(state, event, timings);
    case 'failed':
      return failed(state, event, timings);
    case 'deleted':
      return lose(state, "the session's key in etcd was deleted by somebody else");
  }
}

function isAlive(state: SessionState): boolean {
  return state.phase === 'starting' || state.phase === 'certain';
}

function unchanged(state: SessionState): SessionStep {
  return { state, commands: [] };
}

function end(state: SessionState): SessionStep {
  if (state.phase === 'ended') return unchanged(state);
  const step = forgetRounds({ ...state, phase: 'ended' }, state.rounds);
  return { state: step.state, commands: [...step.commands, { command: 'revoke' }] };
}

function lose(state: SessionState, lossReason: string): SessionStep {
  return forgetRounds({ ...state, phase: 'lost', lossReason }, state.rounds);
}

/** Starts what is due: a round, or while the mark is not there, another try to write it. */
function startDue(state: SessionState, nowMs: number, timings: Timings): SessionStep {
  if (nowMs < state.nextRoundAtMs) return unchanged(state);
  const { endpoint } = state;
  const started = {
    ...state,
    lastRoundAtMs: nowMs,
    nextRoundAtMs: nowMs + hangingMs(timings),
    // What does not answer is not asked again as long as there is another.
    endpoint: (endpoint + 1) % state.endpoints,
  };
  if (state.phase === 'starting') {
    return { state: started, commands: [{ command: 'mark', endpoint }] };
  }
  const round: Round = { id: state.nextRound, endpoint, sentAtMs: nowMs, kept: undefined };
  const dropped = forgetRounds(started, state.rounds.slice(0, 1 - roundsMax));
  return {
    state: { ...dropped.state, rounds: [...dropped.state.rounds, round], nextRound: round.id + 1 },
    commands: [...dropped.commands, { command: 'keep alive', round: round.id, endpoint }],
  };
}

/** From one round to the next while none is confirmed: all endpoints have their turn within the deadline. */
function hangingMs({ renewDeadlineMs }: Timings): number {
  return renewDeadlineMs / roundsMax;
}

function kept(
  state: SessionState,
  event: Extract<SessionEvent, { event: 'kept' }>,
  timings: Timings,
): SessionStep {
  const round = state.rounds.find(({ id }) => id === event.round);
  if (round === undefined || round.kept !== undefined) return unchanged(state);
  if (event.clusterId !== state.clusterId) return otherCluster(state, round, event, timings);
  // Also a lease that is said to be gone: a new leader that is behind says so of a lease that lives. The read tells.
  const { raftTerm, ttlMs } = event;
  const answered: Round = { ...round, kept: { raftTerm, ttlMs } };
  return {
    state: { ...state, rounds: state.rounds.map((one) => (one === round ? answered : one)) },
    commands: [{ command: 'read', round: round.id, endpoint: round.endpoint }],
  };
}

function read(
  state: SessionState,
  event: Extract<SessionEvent, { event: 'read' }>,
  timings: Timings,
): SessionStep {
  const round = state.rounds.find(({ id }) => id === event.round);
  if (round?.kept === undefined) return unchanged(state);
  if (event.clusterId !== state.clusterId) return otherCluster(state, round, event, timings);
  if (event.createRevision !== state.markRevision) {
    return lose(state, "the session's key in etcd is gone: its lease expired or was revoked");
  }
  if (round.kept.ttlMs <= 0) {
    return unconfirmed(state, round, event.nowMs, timings, 'etcd did not know the lease for a moment');
  }
  if (round.kept.raftTerm !== event.raftTerm) {
    const sameAgain = { ...state, endpoint: round.endpoint };
    return unconfirmed(sameAgain, round, event.nowMs, timings, 'etcd has just changed its leader');
  }
  const older = state.rounds.filter(({ sentAtMs }) => sentAtMs <= round.sentAtMs);
  const allAreOlder = older.length === state.rounds.length;
  return forgetRounds(
    {
      ...state,
      confirmedAtMs: Math.max(state.confirmedAtMs, round.sentAtMs),
      endpoint: round.endpoint,
      lastTrouble: undefined,
      nextRoundAtMs: allAreOlder ? state.lastRoundAtMs + timings.renewIntervalMs : state.nextRoundAtMs,
    },
    older,
    round,
  );
}

function failed(
  state: SessionState,
  event: Extract<SessionEvent, { event: 'failed' }>,
  timings: Timings,
): SessionStep {
  if (event.call === 'mark') {
    return unchanged(
      state.phase === 'starting'
        ? { ...state, lastTrouble: event.why, nextRoundAtMs: retryAtMs(state, event.nowMs, timings) }
        : state,
    );
  }
  const round = state.rounds.find(({ id }) => id === event.call);
  if (round === undefined) return unchanged(state);
  return unconfirmed(state, round, event.nowMs, timings, event.why);
}

function otherCluster(
  state: SessionState,
  round: Round,
  event: Extract<SessionEvent, { event: 'kept' | 'read' }>,
  timings: Timings,
): SessionStep {
  const found = event.clusterId.toString(16);
  const why = `an endpoint belongs to another cluster, ${found} instead of ${state.clusterId.toString(16)}`;
  return unconfirmed(state, round, event.nowMs, timings, why);
}

/** The round is over and has confirmed nothing; the next comes soon. */
function unconfirmed(
  state: SessionState,
  round: Round,
  nowMs: number,
  timings: Timings,
  lastTrouble: string,
): SessionStep {
  const nextRoundAtMs = retryAtMs(state, nowMs, timings);
  return forgetRounds({ ...state, lastTrouble, nextRoundAtMs }, [round], round);
}

function retryAtMs(state: SessionState, nowMs: number, timings: Timings): number {
  const soonMs = Math.max(nowMs, state.lastRoundAtMs + timings.renewIntervalMs * retryShare);
  return Math.min(state.nextRoundAtMs, soonMs);
}

/** Takes rounds out; all but the one that has just been answered are still under way and to be abandoned. */
function forgetRounds(state: SessionState, rounds: readonly Round[], answered?: Round): SessionStep {
  return {
    state: { ...state, rounds: state.rounds.filter((round) => !rounds.includes(round)) },
    commands: rounds
      .filter((round) => round !== answered)
      .map((round) => ({ command: 'abandon', round: round.id })),
  };
}

/**
 * Rules that are broken on purpose, each with what it would mean: the simulation has to find every one of them. They are
 * wrapped around the state machine from outside; the product has no switch for any of them.
 */
import { timingsFrom, type Timings } from '../../../../src/drivers/etcd/timings.js';
import type {
  SessionEvent,
  SessionState,
  SessionStep,
} from '../../../../src/drivers/etcd/session/session-state.js';
import { theRules } from './run-schedule.js';
import type { Rules } from './simulated-host.js';

type Change = (state: SessionState, event: SessionEvent) => readonly [SessionState, SessionEvent];

/** The real machine, which is told something else than what happened. */
function misled(change: Change): Rules {
  return {
    ...theRules,
    advance: (state, event, timings) => theRules.advance(...change(state, event), timings),
  };
}

function roundOf(state: SessionState, id: number): SessionState['rounds'][number] | undefined {
  return state.rounds.find((round) => round.id === id);
}

/** Both at once: the keepalive's answer alone confirms. */
function confirmByAnswer(state: SessionState, event: SessionEvent, timings: Timings): SessionStep {
  const step = theRules.advance(state, event, timings);
  if (event.event !== 'kept' || state.markRevision === undefined) return step;
  const { nowMs, round, raftTerm, clusterId } = event;
  const createRevision = state.markRevision;
  return theRules.advance(
    step.state,
    { event: 'read', nowMs, round, raftTerm, clusterId, createRevision },
    timings,
  );
}

/** A deadline that has passed is forgotten when an answer comes after all. */
function lateIsFine(state: SessionState, event: SessionEvent): readonly [SessionState, SessionEvent] {
  if (event.event !== 'kept' && event.event !== 'read') return [state, event];
  return [{ ...state, confirmedAtMs: Math.max(state.confirmedAtMs, event.nowMs) }, event];
}

export const mutations: Readonly<Record<string, Rules>> = {
  'counted from when the answer came': misled((state, event) => {
    if (event.event !== 'read') return [state, event];
    const rounds = state.rounds.map((one) =>
      one.id === event.round ? { ...one, sentAtMs: event.nowMs } : one,
    );
    return [{ ...state, rounds }, event];
  }),
  'the Raft term is not compared': misled((state, event) => {
    if (event.event !== 'read') return [state, event];
    return [state, { ...event, raftTerm: roundOf(state, event.round)?.kept?.raftTerm ?? event.raftTerm }];
  }),
  'a keepalive without a read': { ...theRules, advance: confirmByAnswer },
  'the read may be answered from what a member has': {
    ...misled((state, event) => {
      if (event.event !== 'read') return [state, event];
      return [state, { ...event, raftTerm: roundOf(state, event.round)?.kept?.raftTerm ?? event.raftTerm }];
    }),
    serializableRead: true,
  },
  'the read is not linearizable': { ...theRules, serializableRead: true },
  'a clock that stands still in suspend': { ...theRules, clock: 'monotonic' },
  'an old answer confirms the newest renewal': misled((state, event) => {
    if (event.event !== 'read') return [state, event];
    const sentAtMs = state.lastRoundAtMs;
    const rounds = state.rounds.map((one) => (one.id === event.round ? { ...one, sentAtMs } : one));
    return [{ ...state, rounds }, event];
  }),
  'each sign of life moves the deadline': misled(lateIsFine),
  'a lease that is gone counts as kept, its mark as there': misled((state, event) => {
    if (event.event === 'kept') return [state, { ...event, ttlMs: 1_000 }];
    if (event.event === 'read') return [state, { ...event, createRevision: state.markRevision }];
    return [state, event];
  }),
  'the times leave no room for the kill': {
    ...theRules,
    timings: { ...timingsFrom({}), renewDeadlineMs: 8_000, graceMs: 2_500 },
  },
  'a single endpoint is asked again and again': misled((state, event) => [{ ...state, endpoint: 0 }, event]),
  'renewals are too rare': {
    ...theRules,
    timings: { ...timingsFrom({}), renewIntervalMs: 4_900 },
  },
  'one round at a time': {
    ...theRules,
    advance: (state, event, timings) =>
      event.event === 'time' &&
      state.rounds.length > 0 &&
      event.nowMs < state.confirmedAtMs + timings.renewDeadlineMs
        ? { state: { ...state, nextRoundAtMs: event.nowMs + 100 }, commands: [] }
        : theRules.advance(state, event, timings),
  },
};

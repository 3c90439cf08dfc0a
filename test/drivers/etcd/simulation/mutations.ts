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

/** Valid, and with so little room that what a broken rule gains in time shows. */
const tight = timingsFrom({ renewDeadlineMs: 8_000, graceMs: 1_200, marginMs: 500 });

/** The real machine, which is told something else than what happened. */
function misled(change: Change, timings?: Timings): Rules {
  return {
    ...theRules,
    timings,
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

/** Somebody else has it, or could have it, while a command of this host runs. */
const overlap = /expired while|both have/;
/** Lost, and nothing was the matter. */
const needless = /lost its session although/;
const markGone = /mark is gone/;

export const mutations: Readonly<Record<string, { readonly rules: Rules; readonly finds: RegExp }>> = {
  'counted from when the answer came': {
    rules: misled((state, event) => {
      if (event.event !== 'read') return [state, event];
      const rounds = state.rounds.map((one) =>
        one.id === event.round ? { ...one, sentAtMs: event.nowMs } : one,
      );
      return [{ ...state, rounds }, event];
    }, tight),
    finds: overlap,
  },
  'the Raft term is not compared': {
    rules: misled((state, event) => {
      if (event.event !== 'read') return [state, event];
      return [state, { ...event, raftTerm: roundOf(state, event.round)?.kept?.raftTerm ?? event.raftTerm }];
    }, tight),
    finds: overlap,
  },
  'a keepalive without a read': { rules: { ...theRules, advance: confirmByAnswer }, finds: overlap },
  'the read may be answered from what a member has': {
    rules: {
      ...misled((state, event) => {
        if (event.event !== 'read') return [state, event];
        return [state, { ...event, raftTerm: roundOf(state, event.round)?.kept?.raftTerm ?? event.raftTerm }];
      }),
      serializableRead: true,
    },
    finds: overlap,
  },
  'the read is not linearizable': { rules: { ...theRules, serializableRead: true }, finds: overlap },
  'a clock that stands still in suspend': { rules: { ...theRules, clock: 'monotonic' }, finds: overlap },
  'an old answer confirms the newest renewal': {
    rules: misled((state, event) => {
      if (event.event !== 'read') return [state, event];
      const sentAtMs = state.lastRoundAtMs;
      const rounds = state.rounds.map((one) => (one.id === event.round ? { ...one, sentAtMs } : one));
      return [{ ...state, rounds }, event];
    }, tight),
    finds: overlap,
  },
  'each sign of life moves the deadline': { rules: misled(lateIsFine), finds: overlap },
  'a lease that is gone counts as kept, its mark as there': {
    rules: misled((state, event) => {
      if (event.event === 'kept') return [state, { ...event, ttlMs: 1_000 }];
      if (event.event === 'read') return [state, { ...event, createRevision: state.markRevision }];
      return [state, event];
    }),
    finds: markGone,
  },
  'the times leave no room for the kill': {
    rules: {
      ...theRules,
      timings: { ...timingsFrom({}), renewDeadlineMs: 8_000, graceMs: 2_500 },
    },
    finds: overlap,
  },
  'a single endpoint is asked again and again': {
    rules: misled((state, event) => [{ ...state, endpoint: 0 }, event]),
    finds: needless,
  },
  'renewals are too rare': {
    rules: {
      ...theRules,
      timings: { ...timingsFrom({}), renewIntervalMs: 4_900 },
    },
    finds: needless,
  },
  'one round at a time': {
    rules: {
      ...theRules,
      advance: (state, event, timings) =>
        event.event === 'time' &&
        state.rounds.length > 0 &&
        event.nowMs < state.confirmedAtMs + timings.renewDeadlineMs
          ? { state: { ...state, nextRoundAtMs: event.nowMs + 100 }, commands: [] }
          : theRules.advance(state, event, timings),
    },
    finds: needless,
  },
};

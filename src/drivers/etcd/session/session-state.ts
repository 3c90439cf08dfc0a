/**
 * The state of a session with etcd, and what goes into and comes out of its state machine (`advance-session.ts`).
 *
 * A session is one lease, with a key of its own under it, the mark (`sessions/<lease>`). Its states:
 *
 *     starting -> certain -> lost -> ended
 *
 * - starting: the lease was granted, the mark is not written yet. It is as certain as after a renewal: a lease is granted
 *   by consensus, and counted from a moment after the request was sent.
 * - certain: until `guaranteeFrom(confirmedAtMs)` says otherwise nobody else can have what is under the lease.
 * - lost: the deadline is over, or the mark is gone. Nothing makes it certain again.
 * - ended: given back by ourselves. `starting` and `certain` can end as well, without having been lost.
 *
 * A renewal is a round: a keepalive, and when its answer is there, a linearizable read of the mark. Only both together
 * confirm it, because a leader that is stuck on its disk goes on answering keepalives for a lease that its successor has
 * long let expire. The read needs a majority; when it was begun after the answer and finds the same Raft term, then the leader
 * that answered the keepalive was still the leader afterwards.
 */

/** What is known of a session from its grant on. */
export interface SessionState {
  readonly phase: 'starting' | 'certain' | 'lost' | 'ended';
  readonly clusterId: bigint;
  /** How many endpoints there are; they are told by number, from 0. */
  readonly endpoints: number;
  /** When the last confirmed renewal was *sent* (CLOCK_BOOTTIME): everything counts from here. Never goes back. */
  readonly confirmedAtMs: number;
  /** The revision that wrote the mark; undefined: not written yet. */
  readonly markRevision: number | undefined;
  /** Not answered in full yet, oldest first; all were sent after `confirmedAtMs`. At most `roundsMax`. */
  readonly rounds: readonly Round[];
  readonly nextRound: number;
  /** When the next round starts, or the mark is tried again. */
  readonly nextRoundAtMs: number;
  /** When the last one started. */
  readonly lastRoundAtMs: number;
  /** Where the next round goes: on to the next endpoint with each one that is started, back to the one that confirms. */
  readonly endpoint: number;
  /** Why the last round was not confirmed: what a loss will say. */
  readonly lastTrouble: string | undefined;
  /** Of a lost session. */
  readonly lossReason: string | undefined;
}

/** One renewal that is under way. */
export interface Round {
  readonly id: number;
  readonly endpoint: number;
  readonly sentAtMs: number;
  /** From the answer of the keepalive; undefined: not there yet. */
  readonly kept: { readonly raftTerm: number; readonly ttlMs: number } | undefined;
}

/** What happened; `nowMs` is CLOCK_BOOTTIME when it was noticed. */
export type SessionEvent = { readonly nowMs: number } & (
  | { readonly event: 'time' }
  | { readonly event: 'marked'; readonly endpoint: number; readonly createRevision: number }
  | ({ readonly event: 'kept'; readonly round: number; readonly ttlMs: number } & AnswerHeader)
  /** Without a revision: the mark is not there. */
  | ({
      readonly event: 'read';
      readonly round: number;
      readonly createRevision: number | undefined;
    } & AnswerHeader)
  | { readonly event: 'failed'; readonly call: 'mark' | number; readonly why: string }
  /** A watch saw that the mark was deleted. */
  | { readonly event: 'deleted' }
  | { readonly event: 'end' }
);

/** What each answer of etcd says of where it comes from. */
export interface AnswerHeader {
  readonly clusterId: bigint;
  readonly raftTerm: number;
}

/** What is to be done now. Each is answered by an event with the same round, or by none. */
export type SessionCommand =
  /** Write the mark, unless it is there; its answer is `marked`. */
  | { readonly command: 'mark'; readonly endpoint: number }
  /** Its answer is `kept`. */
  | { readonly command: 'keep alive'; readonly round: number; readonly endpoint: number }
  /** A linearizable read of the mark, which must not be sent before; its answer is `read`. */
  | { readonly command: 'read'; readonly round: number; readonly endpoint: number }
  /** Nobody waits for this round any longer. */
  | { readonly command: 'abandon'; readonly round: number }
  /** Tell etcd that the lease can go. */
  | { readonly command: 'revoke' };

/** What a change of state gives. */
export interface SessionStep {
  readonly state: SessionState;
  readonly commands: readonly SessionCommand[];
}

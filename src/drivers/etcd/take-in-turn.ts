/** Takes locks when it is one's turn: nobody who waits has come before. */
import { HoldfastError } from '../../errors.js';
import type { LockRequest, Owner } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import type { Connection } from './connection.js';
import type { HeldLock } from './holding.js';
import { inUse } from './lock-transaction.js';
import { overReserved } from './reserve.js';
import type { Session } from './session/open-session.js';
import { takeLocks, wantedBy, withSession } from './take-locks.js';
import { isBefore, turnOf, type Queue } from './waiting.js';

/** Who came later may come and go while it is one's turn; each time the transaction has to be put differently. */
const roundsMax = 8;

/** Throws `IN_USE` with who is in the way, `CLUSTER_...`. */
export async function takeInTurn(
  connection: Connection,
  queue: Queue,
  owner: Owner,
  requests: readonly LockRequest[],
  signal: AbortSignal,
): Promise<{ readonly session: Session; readonly taken: readonly HeldLock[] }> {
  const wanted = wantedBy(connection, requests);
  try {
    return await withSession(connection, async (session) => {
      if (wanted.length === 0) return { session, taken: [] };
      const ticket = queue.use(session, owner, requests);
      try {
        // Where others are known to wait, all of whom came later.
        let crowded: ReadonlySet<string> = new Set();
        for (let round = 0; ; round++) {
          const besides = [...ticket.keys.values()].map((key) => ({ delete: { key } }));
          const turn = turnOf(ticket, crowded);
          const order = { owner, wanted, turn, besides };
          let outcome = await takeLocks(connection, session, order);
          const over = 'taken' in outcome ? undefined : overReserved(outcome.blockers, owner, turn);
          if (over !== undefined) {
            const both = [...besides, ...(over.besides ?? [])];
            outcome = await takeLocks(connection, session, { ...order, ...over, besides: both });
          }
          if ('taken' in outcome) {
            queue.granted(ticket);
            return { session, taken: outcome.taken };
          }
          const before = outcome.blockers.filter((one) => isBefore(ticket, one));
          if (before.length > 0 || round === roundsMax) {
            const identities = new Set(before.map(({ wanted: one }) => one.identity));
            ticket.refused = before.length === 0 ? undefined : { identities, revision: outcome.revision };
            const others = outcome.blockers.filter(({ lock }) => lock.holder !== ticket.holder);
            throw inUse(before.length > 0 ? before : others, wanted);
          }
          crowded = new Set(outcome.blockers.map(({ wanted: one }) => one.identity));
          if (signal.aborted) throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked');
        }
      } finally {
        queue.leave(ticket);
      }
    });
  } catch (error) {
    throw asClusterError(error, 'the locks could not be taken');
  }
}

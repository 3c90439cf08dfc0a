/** Looks who is in the way of requests. */
import type { Connection } from './connection.js';
import { blockersIn, guard, type Blocker, type Wanted } from './lock-transaction.js';

/** More names of holders than these help nobody; a base image can have a thousand readers. */
const namesMax = 20;

/** All that is in the way of requests now, those who wait included. Throws `EtcdFailure`. */
export async function lookFor(
  connection: Connection,
  wanted: readonly Wanted[],
): Promise<{ readonly blockers: readonly Blocker[]; readonly revision: number }> {
  const { keys, settings } = connection;
  const client = await connection.client();
  const blockers: Blocker[] = [];
  let revision = 0;
  // Each request needs two ranges at most. A look can be taken in parts, unlike the locks.
  const step = Math.floor(settings.maxOperations / 2);
  for (let at = 0; at < wanted.length; at += step) {
    const part = wanted.slice(at, at + step);
    const guards = part.map((one) => guard(keys, one, 'nobody waits'));
    const success = guards
      .flatMap(({ ranges }) => ranges)
      .map(({ key, rangeEnd }) => ({ range: { key, rangeEnd, limit: namesMax } }));
    const answer = await client.read({ compare: [], success, failure: [] });
    // Of several looks the first counts: what happens after it is seen by whoever watches from there.
    if (at === 0) revision = answer.header?.revision ?? 0;
    blockers.push(...blockersIn(keys, { wanted: part, guards }, answer));
  }
  return { blockers, revision };
}

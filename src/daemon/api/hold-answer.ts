/** A hold as the API shows it. */
import type { HoldAnswer } from './answer-schemas.js';
import type { BookedHold } from './booked-hold.js';

export function holdAnswer({ hold, witness, onLost, ownerEnded, lost }: BookedHold): HoldAnswer {
  const { grants } = hold.save();
  const modes = Object.assign({}, ...grants.map((grant) => grant.modes)) as Record<string, string>;
  const isLocked = hold.state === 'held';
  return {
    id: hold.id,
    owner: hold.owner,
    since: hold.since,
    state: hold.state === 'suspended' ? 'suspended' : 'held',
    ...(lost === undefined ? {} : { lost }),
    drivers: grants.map(({ driver }) => driver),
    // Where a driver knows fewer modes it has locked more strictly than was asked.
    requests: (isLocked ? hold.requests : []).flatMap(({ resource }) => {
      const mode = modes[resource.identity];
      return mode === undefined ? [] : [{ resource, mode } as HoldAnswer['requests'][number]];
    }),
    targets: Object.fromEntries(
      hold.plan.items.flatMap(({ target, resource }) =>
        target === undefined || resource === undefined ? [] : [[resource.identity, target]],
      ),
    ),
    tokens: hold.tokens,
    notes: [...hold.notes],
    ...(witness === undefined ? {} : { witness }),
    ...(onLost === undefined ? {} : { onLost }),
    ownerEnded,
  };
}

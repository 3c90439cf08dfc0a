/** What the API gives. Fields are added, never changed: clients ignore those that they do not know. */
import { Type, type Static } from '@sinclair/typebox';
import { LockRequest, LossAction, Mode } from './request-schemas.js';

const Strings = Type.Array(Type.String());
/** Where further fields may come. */
const open = { additionalProperties: true } as const;

export const Owner = Type.Object(
  {
    kind: Type.Union([Type.Literal('domain'), Type.Literal('command')]),
    name: Type.String(),
    uuid: Type.String(),
    id: Type.Optional(Type.Integer()),
    pid: Type.Integer(),
    startTime: Type.Integer({ description: 'clock ticks after boot' }),
    host: Type.String(),
    hostId: Type.String(),
  },
  open,
);

export const HoldAnswer = Type.Object(
  {
    id: Type.String(),
    owner: Owner,
    since: Type.String({ format: 'date-time' }),
    state: Type.Union([Type.Literal('held'), Type.Literal('suspended')]),
    lost: Type.Optional(Type.String({ description: 'why it can no longer be guaranteed' })),
    drivers: Strings,
    requests: Type.Array(LockRequest, { description: 'what is locked' }),
    targets: Type.Record(Type.String(), Type.String(), { description: 'names in the guest, by identity' }),
    tokens: Type.Record(Type.String(), Type.String(), { description: 'fencing tokens, by identity' }),
    notes: Strings,
    witness: Type.Optional(Type.String()),
    onLost: Type.Optional(LossAction),
    ownerEnded: Type.Boolean({ description: 'whether only its witness keeps it' }),
  },
  open,
);
export type HoldAnswer = Static<typeof HoldAnswer>;

export const LockAnswer = Type.Object(
  {
    lockspace: Type.String({ description: "'': the name is the path of what is locked" }),
    name: Type.String(),
    mode: Type.Union([Type.Literal('exclusive'), Type.Literal('shared')]),
    since: Type.String({ format: 'date-time' }),
    owners: Type.Array(
      Type.Object(
        {
          name: Type.String(),
          uuid: Type.String(),
          id: Type.Integer(),
          pid: Type.Integer(),
          startTime: Type.Integer(),
        },
        open,
      ),
    ),
  },
  { ...open, description: 'A lock that libvirt has taken.' },
);
export type LockAnswer = Static<typeof LockAnswer>;

export const HolderAnswer = Type.Object(
  {
    guest: Type.Optional(Type.String()),
    uuid: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    program: Type.Optional(Type.String()),
    pid: Type.Optional(Type.Integer()),
    startTime: Type.Optional(Type.Integer()),
    user: Type.Optional(Type.String()),
    host: Type.Optional(Type.String()),
    since: Type.Optional(Type.String()),
    mode: Type.Optional(Mode),
    container: Type.Optional(Type.String()),
    refuses: Type.Optional(Type.Array(Mode)),
    does: Type.Optional(Strings),
    through: Strings,
    evidence: Strings,
    remedy: Type.Optional(Type.String()),
  },
  open,
);

export const PlanAnswer = Type.Object(
  {
    owner: Type.Object({ kind: Type.String(), name: Type.String(), uuid: Type.String() }, open),
    items: Type.Array(
      Type.Object({ role: Type.String(), label: Type.String(), verdict: Type.String() }, open),
    ),
    requests: Type.Array(LockRequest),
    states: Type.Array(
      Type.Object(
        {
          identity: Type.String(),
          free: Type.Boolean(),
          reason: Type.Optional(Type.String()),
          code: Type.Optional(Type.String()),
          remedy: Type.Optional(Type.String()),
          holders: Type.Array(HolderAnswer),
        },
        open,
      ),
      { description: 'one for each of `requests`, in that order' },
    ),
    granted: Type.Boolean({ description: 'whether it would be granted now' }),
    drivers: Strings,
    notes: Strings,
  },
  open,
);

export const UseAnswer = Type.Object(
  {
    resource: Type.Object({ identity: Type.String(), label: Type.String() }, open),
    role: Type.String(),
    state: Type.Union([Type.Literal('in use'), Type.Literal('free'), Type.Literal('not fully seen')]),
    holders: Type.Array(HolderAnswer),
    unseen: Type.Optional(Type.String()),
    notes: Strings,
  },
  open,
);

export const DriverAnswer = Type.Object(
  {
    name: Type.String(),
    reach: Type.String(),
    modes: Type.Array(Mode),
    abilities: Strings,
    guarantees: Strings,
    doesNotGuarantee: Strings,
  },
  open,
);

export const HealthAnswer = Type.Object(
  {
    status: Type.Literal('ok'),
    version: Type.String(),
    pid: Type.Integer(),
    since: Type.String({ format: 'date-time', description: 'of this process' }),
    restarts: Type.Integer({ description: 'since its keeper runs' }),
    holds: Type.Integer(),
    locks: Type.Integer({ description: "libvirt's" }),
    connections: Type.Integer({ description: "libvirt's" }),
  },
  open,
);

export const ErrorAnswer = Type.Object(
  {
    code: Type.String(),
    message: Type.String(),
    exitCode: Type.Integer(),
    retryable: Type.Boolean(),
    remedy: Type.String(),
    resource: Type.Optional(Type.String()),
    mode: Type.Optional(Type.String()),
    holders: Type.Array(HolderAnswer),
  },
  { ...open, description: 'docs/errors.md has the codes.' },
);

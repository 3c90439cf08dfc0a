/** What the API takes: strict, so that a field which nobody reads is an error and not a wish that was silently left out. */
import { Type, type Static } from '@sinclair/typebox';

/** Longer is no path of Linux, and no name of anything. */
const textMax = 4096;
const nameMax = 1024;
/** As the manager, which takes this many disks in some milliseconds. */
const itemsMax = 4096;
/** The limit of XML is 16 MiB of it; as JSON it can be longer. */
const xmlMax = 17 * 1024 * 1024;
const pidMax = 2 ** 22;

const strict = { additionalProperties: false } as const;
const Text = Type.String({ maxLength: textMax });
const Name = Type.String({ minLength: 1, maxLength: nameMax });
const Path = Type.String({ pattern: '^/', maxLength: textMax, description: 'absolute' });
const Uuid = Type.String({ pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' });
const Pid = Type.Integer({ minimum: 1, maximum: pidMax });
export const LossAction = Type.Union(
  [Type.Literal('poweroff'), Type.Literal('pause'), Type.Literal('ignore'), Type.Literal('restart')],
  {
    description:
      "What becomes of the owner when the hold is lost; default: the domain's <on_lockfailure>, else what the daemon is set to. " +
      'restart: only where nothing can be lost, because the daemon cannot start it again.',
  },
);

export const Mode = Type.Union([
  Type.Literal('exclusive'),
  Type.Literal('shared'),
  Type.Literal('read'),
  Type.Literal('part'),
]);

const Inode = Type.Object({ dev: Text, ino: Text }, strict);

const Resource = Type.Object(
  {
    kind: Type.Union([Type.Literal('disk'), Type.Literal('lease'), Type.Literal('domain')]),
    identity: Type.String({ minLength: 1, maxLength: 2 * textMax }),
    label: Text,
    storage: Type.Union([
      Type.Literal('file'),
      Type.Literal('block'),
      Type.Literal('directory'),
      Type.Literal('network'),
      Type.Literal('name'),
    ]),
    scope: Type.Union([Type.Literal('host'), Type.Literal('cluster')]),
    path: Type.Optional(Path),
    realPath: Type.Optional(Path),
    otherPaths: Type.Optional(Type.Array(Path, { maxItems: itemsMax })),
    inode: Type.Optional(Inode),
    device: Type.Optional(Text),
    lvmUuid: Type.Optional(Text),
    scsiId: Type.Optional(Text),
    unknownFileSystem: Type.Optional(Text),
    lease: Type.Optional(
      Type.Object(
        {
          lockspace: Text,
          key: Text,
          path: Type.Optional(Path),
          offset: Type.Integer({ minimum: 0 }),
        },
        strict,
      ),
    ),
  },
  { ...strict, description: 'What is locked, as a plan names it.' },
);

export const LockRequest = Type.Object({ resource: Resource, mode: Mode }, strict);

/** Who holds: what is not said of the process is that of the connection's other end. */
const OwnerBody = Type.Object(
  {
    kind: Type.Optional(Type.Union([Type.Literal('domain'), Type.Literal('command')])),
    name: Name,
    uuid: Uuid,
    id: Type.Optional(Type.Integer({ minimum: 0 })),
    pid: Type.Optional(Pid),
    startTime: Type.Optional(Type.Integer({ minimum: 0 })),
    host: Type.Optional(Text),
    hostId: Type.Optional(Text),
  },
  { ...strict, description: 'pid and startTime: the process that holds; default: the one that asks.' },
);

const AskedMode = Type.Union([
  Type.Literal('exclusive'),
  Type.Literal('shared'),
  Type.Literal('read'),
  Type.Literal('peek'),
]);

const Disk = Type.Object(
  {
    path: Path,
    mode: Type.Optional(AskedMode),
    format: Type.Optional(Type.String({ pattern: '^[a-z0-9-]{1,32}$' })),
  },
  strict,
);

/** It names a file. */
const LockName = Type.String({ pattern: '^(?!\\.{1,2}$)[^/\\u0000]+$', maxLength: nameMax });

const Lease = Type.Object(
  {
    lockspace: LockName,
    key: LockName,
    path: Type.Optional(Path),
    offset: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  strict,
);

const Domain = Type.Object({ connect: Type.Optional(Text), name: Name }, strict);

/** What a guest is made of; or `requests`, which another manager has planned, and then nothing else. */
const guestFields = {
  xml: Type.Optional(
    Type.Union([Type.String({ maxLength: xmlMax }), Type.Array(Type.String({ maxLength: xmlMax }))]),
  ),
  domain: Type.Optional(Type.Union([Domain, Type.Array(Domain, { maxItems: itemsMax })])),
  connect: Type.Optional(Text),
  disks: Type.Optional(Type.Array(Disk, { maxItems: itemsMax })),
  leases: Type.Optional(Type.Array(Lease, { maxItems: itemsMax })),
  name: Type.Optional(Name),
  owner: Type.Optional(OwnerBody),
  requests: Type.Optional(Type.Array(LockRequest, { maxItems: 4 * itemsMax })),
};

const lookingFields = {
  allowUnlocked: Type.Optional(Type.Boolean()),
  explain: Type.Optional(
    Type.Boolean({ description: 'false: who is in the way need not be said; whoever asks looks himself' }),
  ),
};

const waitingFields = {
  wait: Type.Optional(
    Type.Union([Type.Integer({ minimum: 0 }), Type.Boolean()], {
      description: 'milliseconds; true: for ever; default: as the configuration says',
    }),
  ),
  ...lookingFields,
};

const witnessField = {
  witness: Type.Optional(
    Type.String({
      pattern: '^/',
      maxLength: textMax,
      description:
        'A file in a private folder of the same user: the hold lasts also as long as anybody has it locked.',
    }),
  ),
};

export const PlanBody = Type.Object({ ...guestFields, ...lookingFields }, { ...strict, $id: 'PlanBody' });
export type PlanBody = Static<typeof PlanBody>;

export const WhoBody = Type.Object(guestFields, strict);

export const AcquireBody = Type.Object(
  {
    ...guestFields,
    ...waitingFields,
    ...witnessField,
    command: Type.Optional(Type.Array(Text, { maxItems: itemsMax })),
    onLost: Type.Optional(LossAction),
  },
  strict,
);
export type AcquireBody = Static<typeof AcquireBody>;

export const ExtendBody = Type.Object({ ...guestFields, ...waitingFields }, strict);
export type ExtendBody = Static<typeof ExtendBody>;

export const ShrinkBody = Type.Object(
  {
    names: Type.Array(Type.String({ minLength: 1, maxLength: 2 * textMax }), {
      minItems: 1,
      maxItems: itemsMax,
      description: 'paths as they were written, names in the guest (vda), or identities',
    }),
  },
  strict,
);
export type ShrinkBody = Static<typeof ShrinkBody>;

export const HandOverBody = Type.Object(
  { pid: Pid, startTime: Type.Optional(Type.Integer({ minimum: 0 })), ...witnessField },
  strict,
);
export type HandOverBody = Static<typeof HandOverBody>;

export const EmptyBody = Type.Object({}, strict);

export const HoldParams = Type.Object({ id: Type.String({ pattern: '^[0-9a-f]{12}$' }) }, strict);
export type HoldParams = Static<typeof HoldParams>;

export const NoQuery = Type.Object({}, strict);

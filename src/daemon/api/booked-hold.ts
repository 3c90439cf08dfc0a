/** A hold in the book, and what is told of it. */
import type { GuestInput, Hold, LockOptions, LossAction, Owner, OwnerProcess } from '../../index.js';
import type { GuardedHold } from '../cluster/hold-guard.js';
import { boottimeMs } from '../../system/boot-clock.js';
import { processStartTime } from '../../system/process.js';
import type { WrittenHold } from './kept-hold.js';

/** What somebody asks for. */
export interface AcquireWish {
  readonly input: GuestInput;
  readonly process: OwnerProcess;
  readonly witness: string | undefined;
  readonly onLost?: LossAction | undefined;
  readonly options: Pick<LockOptions, 'wait' | 'signal' | 'allowUnlocked' | 'explain' | 'command' | 'onWait'>;
}

export interface BookedHold {
  readonly hold: Hold;
  readonly witness: string | undefined;
  /** What becomes of its owner when it is lost; undefined: what the daemon is set to. */
  readonly onLost: LossAction | undefined;
  /** Its process has ended, and only the witness keeps it. */
  readonly ownerEnded: boolean;
  /** Why it can no longer be guaranteed. */
  readonly lost: string | undefined;
}

/** As the book has it. */
export type Booked = { -readonly [Key in keyof BookedHold]: BookedHold[Key] } & {
  /** Whether its owner may not know that he has it, because the daemon ended with the answer: then he may ask again. */
  doubtful: boolean;
  /** How many were, or are just being, told that it is theirs. */
  told: number;
  /** It was lost, and taken again. */
  regained: boolean;
  /** It is being taken again. */
  retaking?: Promise<void> | undefined;
  /** Whose end is watched for it; undefined: he has ended. */
  watched: OwnerProcess | undefined;
};

/** As the guard of the host has it: whose it is at the moment of asking. */
export function guardedHold(booked: Pick<BookedHold, 'hold' | 'witness' | 'onLost'>): GuardedHold {
  const { hold, onLost } = booked;
  return {
    id: hold.id,
    onLost,
    guarantees: hold.guarantees,
    get owner() {
      return hold.owner;
    },
    get witness() {
      return booked.witness;
    },
  };
}

/** Whether it is held for a while at least. */
export function isCertain({ guarantees }: Hold): boolean {
  const now = boottimeMs();
  return guarantees.every(({ times }) => now < times.loseAtMs);
}

export function isSame(owner: OwnerProcess, { pid, startTime }: OwnerProcess): boolean {
  return owner.pid === pid && owner.startTime === startTime;
}

/** What is locked and how, to be compared. */
export function locksOf(requests: Hold['requests']): string {
  return requests.map(({ resource, mode }) => `${mode} ${resource.identity}`).join('\n');
}

export function isAlive({ pid, startTime }: Owner): boolean {
  return processStartTime(pid) === startTime;
}

export function factsOf({ id, owner, requests }: Hold): Readonly<Record<string, unknown>> {
  const { kind, name, uuid, pid } = owner;
  return {
    hold: id,
    owner: { kind, name, uuid, pid },
    resources: requests.map(({ resource, mode }) => ({
      label: resource.label,
      identity: resource.identity,
      mode,
    })),
  };
}

/** What the next daemon is to know of it. `leaving`: names of what is just being given back. */
export function writtenFacts(
  { hold, witness, onLost }: BookedHold,
  guarded: boolean,
  leaving?: readonly string[],
): Omit<WrittenHold, 'v' | 'boot'> {
  return {
    saved: hold.save(),
    ...(witness === undefined ? {} : { witness }),
    ...(onLost === undefined ? {} : { onLost }),
    ...(leaving === undefined ? {} : { leaving }),
    ...(hold.state === 'suspended' ? { suspended: true } : {}),
    ...(guarded ? { guarded: true } : {}),
  };
}

/**
 * Answers that wait until what they say is in the keeper's hands; and who of the owners has had the one that says that
 * he has a lock.
 */
import type { Connection } from './connection.js';
import type { HeldLocks } from './held-locks.js';
import { doneReplyTo } from './lock-call.js';
import { sameOwner, type Lock, type LockdOwner } from './lock-table.js';

/** What an answer says to whom. */
interface Answer {
  readonly connection: Connection;
  /** Undefined: that it is done, which is told by the next two. */
  readonly bytes: Buffer | undefined;
  readonly procedure: number;
  readonly serial: number;
  readonly acquired: Lock | undefined;
  readonly owner: LockdOwner | undefined;
}

export interface AnswerQueueOptions {
  readonly held: Pick<HeldLocks, 'commit' | 'setDoubtful'>;
  /** The peer has closed, or does not read at all. */
  readonly gone: (connection: Connection) => void;
  /** Something waits for the peer to read, or nothing more does. */
  readonly unsentChanged: (connection: Connection) => void;
}

const nobody: readonly LockdOwner[] = [];

export class AnswerQueue {
  readonly #options: AnswerQueueOptions;
  readonly #answers: Answer[] = [];

  constructor(options: AnswerQueueOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#answers.length;
  }

  /** @param bytes the frame; undefined: the one that says that the call is done. */
  add(connection: Connection, bytes: Buffer | undefined, procedure = 0, serial = 0, acquired?: Lock): void {
    this.#answers.push({ connection, bytes, procedure, serial, acquired, owner: connection.owner });
  }

  /** Puts what was taken into the keeper's hands, and then sends. */
  send(): void {
    this.#options.held.commit();
    for (const answer of this.#answers) this.#send(answer);
    this.#answers.length = 0;
  }

  #send({ connection, bytes, procedure, serial, acquired, owner }: Answer): void {
    if (connection.closed) return;
    const hadUnsent = connection.hasUnsent;
    const state = connection.send(bytes ?? doneReplyTo(procedure, serial));
    if (state === 'gone') return this.#options.gone(connection);
    if (hadUnsent !== connection.hasUnsent) this.#options.unsentChanged(connection);
    // What waits may never be read; then the owner does not know that it has it.
    if (acquired === undefined || state === 'waiting') return;
    connection.acquired = acquired;
    const { doubtful } = acquired;
    const isOne = doubtful.length === 1 && doubtful[0] === owner;
    const others = isOne ? nobody : doubtful.filter((one) => owner === undefined || !sameOwner(one, owner));
    this.#options.held.setDoubtful(acquired, others);
  }

  /** The last answer to this one was not read. */
  doubt({ owner, acquired }: Connection): void {
    if (owner === undefined || acquired === undefined) return;
    const own = acquired.owners.findLast((one) => sameOwner(one, owner));
    if (own !== undefined) this.#options.held.setDoubtful(acquired, [...acquired.doubtful, own]);
  }
}

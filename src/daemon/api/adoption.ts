/**
 * Takes up what was held before this process; what cannot be taken up stays locked as long as its owner lives. What a cluster
 * has is tried again until it is taken up, lost, or of no use to anybody: its owner is ended when its time is over.
 */
import { closeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { causeText, HoldfastError, isHoldfastError } from '../../errors.js';
import type { Hold, LossAction, Manager, SavedHold } from '../../index.js';
import type { ErrorCode } from '../../vocabulary.js';
import { factsOf, isAlive } from './booked-hold.js';
import type { EventLog } from './event-log.js';
import type { FoundHold, KeptHolds } from './kept-hold.js';
import { isWitnessed } from './witness-file.js';

/** What is locked still by what the keeper has, though it could not be taken up. */
interface Unadopted {
  readonly saved: SavedHold;
  readonly descriptors: readonly number[];
}

/** Of the host's guard, what this needs. */
export interface LossGuard {
  /** Somebody else has what a hold had. */
  lost(hold: Pick<SavedHold, 'id' | 'owner'> & Asked): void;
}

/** What was said of a hold when it was asked for. */
export interface Asked {
  readonly witness: string | undefined;
  readonly onLost: LossAction | undefined;
}

type Book = (hold: Hold, asked: Asked) => void;

const againMs = 500;

/** After these there is nothing left to keep. */
const lostCodes: readonly ErrorCode[] = ['IN_USE', 'LOST', 'UNSUPPORTED'];

export class Adoption {
  readonly #manager: Manager;
  readonly #kept: KeptHolds;
  readonly #events: EventLog;
  readonly #guard: LossGuard | undefined;
  #unadopted: Unadopted[] = [];
  /** Those whose cluster does not answer. */
  #waiting: FoundHold[] = [];

  constructor(manager: Manager, kept: KeptHolds, events: EventLog, guard: LossGuard | undefined) {
    this.#manager = manager;
    this.#kept = kept;
    this.#events = events;
    this.#guard = guard;
  }

  /** How many could not be taken up, and are locked still. */
  get left(): number {
    return this.#unadopted.length;
  }

  /** To be called once, before anything else. @param book takes each hold that was taken up */
  async adoptAll(book: Book): Promise<void> {
    const found = this.#kept.find((record) =>
      this.#events.add('lost', { reason: 'its record cannot be read', record }),
    );
    for (const one of found) {
      // Nobody waits once more for a cluster that does not answer.
      const mayTry = this.#waiting.length === 0 || !this.#isGuarded(one);
      if (!mayTry || (await this.#adoptOne(one, book)) === 'later') this.#waiting.push(one);
    }
  }

  /** After `adoptAll`: returns when nothing is left that could still be taken up. */
  async adoptLeft(book: Book): Promise<void> {
    for (let one = this.#waiting[0]; one !== undefined; one = this.#waiting[0]) {
      await pause(againMs, undefined, { ref: false });
      if (isWithoutUse(one)) this.#letGo(unadopted(one));
      else if ((await this.#adoptOne(one, book)) === 'later') continue;
      this.#waiting.shift();
    }
  }

  #isGuarded({ written }: FoundHold): boolean {
    return written.guarded === true && this.#guard !== undefined;
  }

  async #adoptOne(found: FoundHold, book: Book): Promise<'done' | 'later'> {
    const { kept, written } = found;
    const { saved, witness, onLost, leaving, suspended } = written;
    const guarded = this.#isGuarded(found);
    const descriptors = kept?.descriptors ?? [];
    try {
      if (suspended) throw new HoldfastError('LOST', 'it was suspended when the daemon ended');
      // Nobody is left who would keep it.
      if (kept === undefined && isWithoutUse(found)) {
        this.#letGo({ saved, descriptors });
        return 'done';
      }
      const hold = await this.#manager.adopt(saved, descriptors, leaving);
      book(hold, { witness, onLost });
      this.#events.add('adopted', factsOf(hold));
    } catch (error) {
      const isLost = isHoldfastError(error) && lostCodes.includes(error.code);
      // The guard of the daemon before ends its owner when its time is over.
      if (guarded && !isLost) return 'later';
      const { id, owner, plan } = saved;
      const resources = plan.requests.map(({ resource }) => resource.label);
      this.#events.add('lost', { hold: id, owner, resources, reason: causeText(error) });
      if (guarded && suspended !== true) this.#guard?.lost({ id, owner, witness, onLost });
      if (isLost || kept === undefined) this.#letGo({ saved, descriptors });
      // A driver that does not start, or a bug: what is locked stays locked as long as its owner lives.
      else this.#unadopted.push({ saved, descriptors });
    }
    return 'done';
  }

  #letGo({ saved, descriptors }: Unadopted): void {
    this.#kept.drop(saved.id);
    for (const fd of descriptors) closeSync(fd);
  }

  /** Gives back what could not be taken up and whose owner has ended; whether there was any. */
  letGoOfEnded(): boolean {
    const ended = this.#unadopted.filter(({ saved }) => !isAlive(saved.owner));
    this.#unadopted = this.#unadopted.filter((one) => !ended.includes(one));
    for (const one of ended) this.#letGo(one);
    return ended.length > 0;
  }
}

/** Nobody is left who would keep it. */
function isWithoutUse({ written: { saved, witness } }: FoundHold): boolean {
  return !isAlive(saved.owner) && !(witness !== undefined && isWitnessed(witness));
}

function unadopted({ written: { saved }, kept }: FoundHold): Unadopted {
  return { saved, descriptors: kept?.descriptors ?? [] };
}

/** Takes up what was held before this process; what cannot be taken up stays locked as long as its owner lives. */
import { closeSync } from 'node:fs';
import { causeText, HoldfastError, isHoldfastError } from '../../errors.js';
import type { Hold, Manager, SavedHold } from '../../index.js';
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

type Book = (hold: Hold, witness: string | undefined) => void;

/** After these there is nothing left to keep. */
const lostCodes: readonly ErrorCode[] = ['IN_USE', 'LOST', 'UNSUPPORTED'];

export class Adoption {
  readonly #manager: Manager;
  readonly #kept: KeptHolds;
  readonly #events: EventLog;
  #unadopted: Unadopted[] = [];

  constructor(manager: Manager, kept: KeptHolds, events: EventLog) {
    this.#manager = manager;
    this.#kept = kept;
    this.#events = events;
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
    for (const one of found) await this.#adoptOne(one, book);
  }

  async #adoptOne({ written, kept }: FoundHold, book: Book): Promise<void> {
    const { saved, witness, leaving, suspended } = written;
    const descriptors = kept?.descriptors ?? [];
    try {
      if (suspended) throw new HoldfastError('LOST', 'it was suspended when the daemon ended');
      // Nobody is left who would keep it.
      if (kept === undefined && !isAlive(saved.owner) && !(witness !== undefined && isWitnessed(witness))) {
        return this.#letGo({ saved, descriptors });
      }
      const hold = await this.#manager.adopt(saved, descriptors, leaving);
      book(hold, witness);
      this.#events.add('adopted', factsOf(hold));
    } catch (error) {
      const { id, owner, plan } = saved;
      const resources = plan.requests.map(({ resource }) => resource.label);
      this.#events.add('lost', { hold: id, owner, resources, reason: causeText(error) });
      const isLost = isHoldfastError(error) && lostCodes.includes(error.code);
      if (isLost || kept === undefined) this.#letGo({ saved, descriptors });
      // A driver that does not start, or a bug: what is locked stays locked as long as its owner lives.
      else this.#unadopted.push({ saved, descriptors });
    }
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

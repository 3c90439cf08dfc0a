/** What planning one guest needs everywhere: identities, what images say, and a place for notes. */
import type { Below } from './below-image.js';
import { Identities } from './identities.js';
import type { Seen } from './look-at-path.js';
import type { PlanOptions } from './plan-options.js';
import type { Surroundings } from './surroundings.js';

export class Planner {
  readonly surroundings: Surroundings;
  readonly identities: Identities;
  readonly allowUnlocked: boolean;
  readonly hints: boolean;
  readonly identityOnly: boolean;
  readonly qemuImg: string;
  /** Whether anything was decided by what an image says of itself. */
  headersRead = false;
  private readonly said = new Set<string>();
  private readonly read = new Map<string, Promise<Below>>();

  constructor(surroundings: Surroundings, options: PlanOptions) {
    this.surroundings = surroundings;
    this.identities = new Identities(surroundings);
    this.allowUnlocked = options.allowUnlocked ?? false;
    this.hints = options.hints ?? false;
    this.identityOnly = options.identityOnly ?? false;
    this.qemuImg = options.qemuImg ?? 'qemu-img';
  }

  /** Each note once, in the order in which they came. */
  get notes(): readonly string[] {
    return [...this.said];
  }

  note(...notes: readonly string[]): void {
    for (const note of notes) this.said.add(note);
  }

  /** What an image says is below it. Guests share their bases, so each path is read once in a plan. */
  below(seen: Seen, format: string | undefined): Promise<Below> {
    const key = `${format ?? ''} ${seen.path}`;
    let below = this.read.get(key);
    if (below === undefined) {
      below = import('./below-image.js').then(({ belowImage }) => belowImage(seen, format, this));
      // Of a raw image nothing is read, and so nothing can change.
      if (format !== undefined && format !== 'raw') this.headersRead = true;
      this.read.set(key, below);
    }
    return below;
  }
}

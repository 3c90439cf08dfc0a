/** What the routes are about. */
import type { Manager } from '../../index.js';
import type { LockdThread } from '../lockd/lockd-thread.js';
import type { Metrics } from '../metrics.js';
import type { EventLog } from './event-log.js';
import type { HoldBook } from './hold-book.js';

export interface ApiContext {
  readonly manager: Manager;
  readonly book: HoldBook;
  readonly events: EventLog;
  readonly metrics: Metrics;
  readonly lockd: Pick<LockdThread, 'locks' | 'counts'>;
  /** Names of those that holds are locked with. */
  readonly drivers: readonly string[];
  readonly restarts: number;
  /** The group whose members may look. */
  readonly lookers: number | undefined;
}

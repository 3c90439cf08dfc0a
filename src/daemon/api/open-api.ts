/** Puts the API together, and takes up what it held before. */
import { join } from 'node:path';
import { openManager } from '../../index.js';
import type { HoldGuard } from '../cluster/hold-guard.js';
import type { Channel } from '../keeper/channel.js';
import type { LockdThread } from '../lockd/lockd-thread.js';
import { Metrics } from '../metrics.js';
import type { DaemonOptions } from '../options.js';
import { EventLog } from './event-log.js';
import { HoldBook } from './hold-book.js';
import { HoldFiles } from './hold-files.js';
import { KeptHolds } from './kept-hold.js';
import { listenOn, openServer } from './server.js';

export interface ApiOptions {
  readonly options: DaemonOptions;
  /** The runtime directory. */
  readonly directory: string;
  /** The group whose members may look. */
  readonly lookers: number | undefined;
  readonly lockd: LockdThread;
  readonly restarts: number;
  readonly listening: number;
  readonly channel: Channel;
  /** Ends owners before their locks do; undefined: no driver has locks that end by themselves. */
  readonly guard: HoldGuard | undefined;
  /** Called before anything happens. */
  readonly listen: (events: EventLog) => void;
}

export interface Api {
  readonly holds: () => number;
  /** Ends the server; what is held stays with the keeper. */
  readonly close: () => Promise<void>;
}

export async function openApi(given: ApiOptions): Promise<Api> {
  const { options, directory, lookers, lockd, restarts, listening, channel } = given;
  const { config, drivers } = options;
  const events = new EventLog();
  given.listen(events);
  lockd.on('event', ({ what, facts }) => events.add('lockd', { what, ...facts }));
  const manager = openManager({
    driver: drivers,
    ...(config === undefined ? {} : { configuration: config }),
  });
  const kept = new KeptHolds(channel, new HoldFiles(join(directory, 'api-holds')));
  const book = new HoldBook(manager, kept, events, given.guard);
  const metrics = new Metrics({ events, restarts, holds: () => book.size, lockd: () => lockd.counts() });
  await book.adopt();
  const app = await openServer({ manager, book, events, metrics, lockd, drivers, restarts, lookers });
  await listenOn(app, listening);
  return { holds: () => book.size, close: () => app.close() };
}

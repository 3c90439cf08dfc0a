/**
 * The thread that serves libvirt's lock protocol. It blocks in epoll all the time: nothing else runs here, and nothing that
 * takes long may.
 */
import { closeSync } from 'node:fs';
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { monotonicMs } from '../../system/clock.js';
import { Epoll, readable } from '../../system/epoll.js';
import { calm } from '../../system/event-fd.js';
import { Channel } from '../keeper/channel.js';
import { HeldLocks } from './held-locks.js';
import { Journal, readJournal } from './journal.js';
import { LockTable, type Lock } from './lock-table.js';
import { LockdServer, type LockdEvent } from './lockd-server.js';
import { OwnerWatch } from './owner-watch.js';
import { counters, type LockdCounter } from './counters.js';

/** What the main thread starts it with. */
export interface LockdWorkerData {
  readonly listening: number;
  readonly channel: number;
  /** An event descriptor: readable when the main thread has sent something. */
  readonly wakeFd: number;
  readonly journalPath: string;
  readonly uid: number;
  /** One 32-bit number for each of `counters`, and the flags of `LockdFlags`. */
  readonly counters: SharedArrayBuffer;
}

/** To this thread. */
export type LockdOrder =
  | { readonly order: 'explained'; readonly token: number; readonly by?: string }
  | { readonly order: 'list'; readonly token: number }
  | { readonly order: 'report everything'; readonly on: boolean }
  | { readonly order: 'stop' };

/** From this thread. */
export type LockdNews =
  | {
      readonly news: 'ready';
      readonly adopted: number;
      readonly takenAgain: number;
      readonly lost: readonly string[];
    }
  | { readonly news: 'event'; readonly event: LockdEvent }
  | { readonly news: 'explain'; readonly token: number; readonly path: string }
  | { readonly news: 'locks'; readonly token: number; readonly locks: readonly Lock[] };

/**
 * An ordinary stop lets those who are in the middle of something finish, for so long: a request that gets lost with its
 * connection is an error of libvirt's, and a lost release leaves the lock until the guest's end.
 */
const finishMsMax = 500;
/** The longest sleep: a check of nothing, so that a clock that jumped cannot stop it for long. */
const turnMsMax = 60_000;

function serve(port: MessagePort, data: LockdWorkerData): void {
  const count = new Int32Array(data.counters);
  const add = (what: LockdCounter, by = 1): unknown => (count[counters.indexOf(what)]! += by);
  const tell = (news: LockdNews): void => port.postMessage(news);

  const epoll = new Epoll();
  const table = new LockTable();
  const owners = new OwnerWatch(epoll);
  const channel = new Channel(data.channel);
  let journal: Journal | undefined;
  const held = new HeldLocks(table, channel, () => (journal ??= openJournal()));
  const openJournal = (): Journal => new Journal(data.journalPath, () => held.records());

  const kept = channel.takeKept();
  const { adopted, lost: lostMeanwhile } = held.adopt(kept);
  const lost = [...lostMeanwhile];
  let takenAgain = 0;
  if (kept.length === 0) {
    // Either nothing was held, or the keeper ended as well.
    const again = held.takeAgain(readJournal(data.journalPath)?.held.values() ?? []);
    takenAgain = again.taken.length;
    lost.push(...again.lost);
  }
  journal ??= openJournal();
  for (const lock of [...table.locks()]) watchOwners(lock);
  add('adopted', adopted + takenAgain);

  /** Those that ended while no daemon ran are gone, and so is what they held. */
  function watchOwners(lock: Lock): void {
    const living = lock.owners.filter(({ pid, startTime }) => owners.needExactly(pid, startTime));
    if (living.length === 0) held.giveBack(lock);
    else if (living.length < lock.owners.length) held.change(lock, { owners: living });
  }

  let everything = false;
  const report = (event: LockdEvent): void => {
    const counter = counterOf[event.what];
    if (counter !== undefined) add(counter);
    if (everything || (event.what !== 'acquired' && event.what !== 'released'))
      tell({ news: 'event', event });
  };
  const server = new LockdServer({
    epoll,
    listening: data.listening,
    table,
    held,
    owners,
    uid: data.uid,
    report,
    explain: (token, path) => tell({ news: 'explain', token, path }),
  });
  epoll.add(data.wakeFd, readable);
  // The keeper says nothing more: what can be read is its end.
  epoll.add(data.channel, readable);

  let stopAtMs = Infinity;
  const stop = (): void => {
    if (stopAtMs !== Infinity) return;
    stopAtMs = monotonicMs() + finishMsMax;
    server.stopAccepting();
  };
  const isRunning = (): boolean => stopAtMs === Infinity || (server.isBusy && monotonicMs() < stopAtMs);
  const obey = (order: LockdOrder): void => {
    if (order.order === 'stop') stop();
    else if (order.order === 'explained') server.explained(order.token, order.by);
    else if (order.order === 'report everything') everything = order.on;
    else tell({ news: 'locks', token: order.token, locks: [...table.locks()] });
  };
  tell({ news: 'ready', adopted, takenAgain, lost });
  while (isRunning()) {
    const nextMs = Math.min(server.handleTime(), stopAtMs);
    const waitMs = Math.min(turnMsMax, Math.max(0, Math.ceil(nextMs - monotonicMs())));
    epoll.wait(waitMs, (fd, events) => {
      if (fd === data.channel) {
        epoll.remove(fd);
        return report({ what: 'keeper ended', facts: { locks: table.size } });
      }
      if (fd !== data.wakeFd) return void server.handle(fd, events);
      calm(fd);
      for (let given = receiveMessageOnPort(port); given !== undefined; given = receiveMessageOnPort(port)) {
        obey(given.message as LockdOrder);
      }
    });
    count[counters.indexOf('locks')] = table.size;
    count[counters.indexOf('connections')] = server.connections;
  }
  closeSync(data.listening);
}

const counterOf: Readonly<Record<LockdEvent['what'], LockdCounter | undefined>> = {
  acquired: 'acquired',
  released: 'released',
  refused: 'refused',
  'owner ended': 'ownersEnded',
  'owner signalled': 'signals',
  'connection refused': 'turnedAway',
  'connection closed for what it sent': 'turnedAway',
  'keeper ended': undefined,
};

if (parentPort !== null) serve(parentPort, workerData as LockdWorkerData);

/**
 * The thread that serves libvirt's lock protocol. It blocks in epoll all the time: nothing else runs here, and nothing that
 * takes long may.
 */
import { closeSync } from 'node:fs';
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { monotonicMs } from '../../system/clock.js';
import { Epoll, readable } from '../../system/epoll.js';
import { calm } from '../../system/event-fd.js';
import { openFilesHard, setOpenFilesSoft } from '../../system/limits.js';
import { knownStartTime } from '../../system/pidfd.js';
import { Channel } from '../keeper/channel.js';
import { AttentiveWait } from './attentive-wait.js';
import { ClusterCalls, type ClusterRefusal, type ClusterWish } from './cluster-calls.js';
import { counters } from './counters.js';
import { HeldLocks } from './held-locks.js';
import { Journal, readJournal } from './journal.js';
import { onlyWhatIsTrue } from './stored-locks.js';
import { LockTable, type Lock } from './lock-table.js';
import type { LockdEvent } from './lockd-event.js';
import { LockdReports } from './lockd-reports.js';
import { LockdServer } from './lockd-server.js';
import { OwnerWatch } from './owner-watch.js';
import { Procedures } from './procedures.js';
import type { TakenUp } from './take-up.js';

/** What the main thread starts it with. */
export interface LockdWorkerData {
  readonly listening: number;
  readonly channel: number;
  /** An event descriptor: readable when the main thread has sent something. */
  readonly wakeFd: number;
  readonly journalPath: string;
  readonly uid: number;
  /** One 32-bit number for each of `counters`. */
  readonly counters: SharedArrayBuffer;
  /** Whether each lock is taken in a cluster as well. */
  readonly inCluster: boolean;
}

/** To this thread. */
export type LockdOrder =
  | { readonly order: 'explained'; readonly token: number; readonly by?: string }
  | { readonly order: 'in cluster'; readonly token: number; readonly refusal?: ClusterRefusal }
  | { readonly order: 'list'; readonly token: number }
  | { readonly order: 'report everything'; readonly on: boolean }
  | { readonly order: 'stop' };

/** From this thread. */
export type LockdNews =
  | ({ readonly news: 'ready' } & TakenUp)
  | { readonly news: 'event'; readonly event: LockdEvent }
  | { readonly news: 'explain'; readonly token: number; readonly path: string; readonly pid: number }
  | { readonly news: 'in cluster'; readonly wish: ClusterWish }
  | { readonly news: 'locks'; readonly token: number; readonly locks: readonly Lock[] }
  /** As `ChannelOptions.standsStill`. */
  | { readonly news: 'keeper stands still'; readonly again: boolean }
  /** `ends` are a new keeper's ends of this thread's channel, with everything in them. */
  | { readonly news: 'keeper ended'; readonly ends: readonly number[] };

/**
 * An ordinary stop lets those who are in the middle of something finish, for so long: a request that gets lost with its
 * connection is an error of libvirt's, and a lost release leaves the lock until the guest's end.
 */
const finishMsMax = 500;
/** How long the keeper may have to wait for the end of locks when nothing else is to be told. */
const idleMs = 5;
/** virtlockd takes 1,024; each costs a descriptor and some 2 KiB. */
const connectionsMax = 10_000;
/** Of the descriptors that a process may have: the keeper has room for more than the daemon can ever have. */
const descriptorsShare = 7 / 8;

function serve(port: MessagePort, data: LockdWorkerData): void {
  const count = new Int32Array(data.counters);
  const tell = (news: LockdNews): void => port.postMessage(news);
  const reports = new LockdReports(count, (event) => tell({ news: 'event', event }));
  const descriptorsMax = Math.floor(openFilesHard() * descriptorsShare);
  setOpenFilesSoft(descriptorsMax);

  const epoll = new Epoll();
  const table = new LockTable();
  const owners = new OwnerWatch(epoll);
  const channel = new Channel(data.channel, {
    standsStill: (again) => tell({ news: 'keeper stands still', again }),
  });
  let channelFd = channel.fd;
  const held = new HeldLocks({
    table,
    channel,
    journalFailed: (error) => reports.tell('journal failed', { why: error.message }),
    keeperEnded: (ends) => {
      // The closed one has left epoll by itself.
      channelFd = channel.fd;
      epoll.add(channelFd, readable);
      reports.tell('keeper ended', { locks: table.size });
      tell({ news: 'keeper ended', ends });
    },
  });
  const cluster = data.inCluster
    ? new ClusterCalls({
        held,
        tell: (wish) => tell({ news: 'in cluster', wish }),
        settled: (token, outcome) => server.settled(token, outcome),
      })
    : undefined;
  const procedures = new Procedures({
    table,
    held,
    owners,
    reports,
    ...(cluster === undefined ? {} : { cluster }),
  });

  const journal = readJournal(data.journalPath);
  const takenUp = held.takeUp(
    onlyWhatIsTrue(channel.takeKept(), journal, (id) => channel.drop(id)),
    journal,
    ({ pid, startTime }) => knownStartTime(pid) === startTime,
  );
  // The keeper says nothing more: what can be read is its end.
  epoll.add(channelFd, readable);
  for (const lock of [...table.locks()]) procedures.watchOwners(lock);
  try {
    held.startJournal(new Journal(data.journalPath));
  } catch (error) {
    reports.tell('journal failed', { why: (error as Error).message });
  }
  reports.add('adopted', takenUp.adopted + takenUp.takenAgain);

  const server = new LockdServer({
    epoll,
    listening: data.listening,
    procedures,
    held,
    owners,
    holdsAny: (pid) => table.holdsAny(pid),
    uid: data.uid,
    connectionsMax: Math.min(connectionsMax, Math.floor(descriptorsMax / 2)),
    reports,
    explain: (token, path, pid) => tell({ news: 'explain', token, path, pid }),
  });
  epoll.add(data.wakeFd, readable);

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
    else if (order.order === 'in cluster') cluster?.answered(order.token, order.refusal);
    else if (order.order === 'report everything') reports.everything = order.on;
    else tell({ news: 'locks', token: order.token, locks: [...table.locks()] });
  };
  const handle = (fd: number, events: number): void => {
    if (server.handle(fd, events)) return;
    if (fd === channelFd) return channel.noticeEnd();
    if (fd !== data.wakeFd) return;
    calm(fd);
    for (let given = receiveMessageOnPort(port); given !== undefined; given = receiveMessageOnPort(port)) {
      obey(given.message as LockdOrder);
    }
  };
  const locksAt = counters.indexOf('locks');
  const connectionsAt = counters.indexOf('connections');
  const waiting = new AttentiveWait(epoll);
  tell({ news: 'ready', ...takenUp });
  while (isRunning()) {
    const nextMs = Math.min(server.handleTime(), stopAtMs);
    const untilMs = nextMs === Infinity ? Infinity : Math.max(0, Math.ceil(nextMs - monotonicMs()));
    const waitMs = Math.min(held.owesKeeper ? idleMs : Infinity, untilMs);
    if (waiting.wait(waitMs === Infinity ? -1 : waitMs, handle) === 0 || channel.keeperEnded)
      held.tellKeeper();
    server.finish();
    count[locksAt] = table.size;
    count[connectionsAt] = server.connections;
  }
  held.tellKeeper();
  closeSync(data.listening);
}

if (parentPort !== null) serve(parentPort, workerData as LockdWorkerData);

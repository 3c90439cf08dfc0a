/**
 * The daemon: what the keeper starts, and starts again. libvirt's protocol is served first, because a guest that starts
 * has little patience; the API, which takes a while to load, after it.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { HoldfastError } from '../errors.js';
import { privateDirectory, runtimeDirectory } from '../system/runtime-directory.js';
import type { DaemonEvent, EventLog } from './api/event-log.js';
import { explainLock } from './explain-lock.js';
import { Channel } from './keeper/channel.js';
import { KeeperReplacement } from './keeper/replace-keeper.js';
import { ownKeeper } from './keeper/start-keeper.js';
import type { LockdEvent } from './lockd/lockd-event.js';
import { LockdThread, type LockdStart } from './lockd/lockd-thread.js';
import { openLog, type DaemonLog } from './log.js';
import { ServiceManager } from './notify-service-manager.js';
import type { DaemonOptions } from './options.js';

/** Longer, and the API does not wait for a cluster that does not answer. */
const takeUpMsMax = 2_000;

/** Runs until it is told to stop, or cannot go on; gives the exit status. */
export async function runDaemon(
  options: DaemonOptions,
  sockets: Readonly<Record<string, number>>,
  lookers: number | undefined,
): Promise<number> {
  const log = openLog(options.logLevel);
  const serviceManager = new ServiceManager();
  const restarts = Number(process.env['HOLDFAST_RESTARTS'] ?? 0);
  const ended = endOfService(log);
  const directory = privateDirectory(runtimeDirectory());
  // Who uses no cluster loads nothing of it.
  const clusters = options.drivers.every((name) => name === 'fcntl')
    ? undefined
    : await import('./cluster/open-cluster.js');
  const cluster = await clusters?.openCluster(options, directory, log);
  const guard = clusters?.openHoldGuard(options, directory, log);
  const lockd = new LockdThread({
    program: new URL('./lockd-worker.js', import.meta.url),
    listening: socketOf(sockets, 'lockd'),
    channel: socketOf(sockets, 'channel:lockd'),
    journalPath: join(directory, 'lockd.journal'),
    explain: (path, asker) => explainLock(path, asker, options),
    ...(cluster === undefined ? {} : { inCluster: (wish) => cluster.do(wish) }),
  });
  lockd.on('error', (error) => {
    log.fatal({ err: error }, 'the thread of the lock protocol failed');
    process.exit(new HoldfastError('INTERNAL', '').exitCode);
  });
  lockd.on('event', (event) => logLockdEvent(log, event));
  if (log.isLevelEnabled('debug')) lockd.reportEverything(true);
  const keeper = new KeeperReplacement({
    keeper: [process.execPath, ...process.argv.slice(1)] as [string, ...string[]],
    current: ownKeeper(socketOf(sockets, 'channel:api')),
    sockets,
    apiEnds: () => channel.renew(),
    failed: (error) => log.error({ err: error }, 'another keeper could not be started'),
    standsStill: (keeperPid, again) =>
      log.error({ keeper: keeperPid }, `the keeper stands still, and is ${again ? 'killed' : 'woken'}`),
  });
  const channel = new Channel(socketOf(sockets, 'channel:api'), {
    remember: true,
    standsStill: (again) => keeper.rouse(again),
  });
  channel.takeKept();
  lockd.on('keeper stands still', (again) => keeper.rouse(again));
  lockd.on('keeper ended', (ends) => void keeper.replace(ends));
  const start = await lockd.started;
  logStart(log, start, options, restarts);
  // Before the API, whose loading keeps this thread busy: what an earlier daemon held is renewed by nobody until then.
  if (cluster !== undefined)
    await Promise.race([cluster.takeUp(await lockd.locks()), pause(takeUpMsMax, undefined, { ref: false })]);

  const { openApi } = await import('./api/open-api.js');
  const api = await openApi({
    options,
    directory,
    lookers,
    lockd,
    restarts,
    listening: socketOf(sockets, 'api'),
    channel,
    guard,
    listen: (events) => logEvents(log, events),
  });
  log.info({ holds: api.holds(), socket: options.apiSocket }, 'serving the API');
  // Nobody waits for the servers' answers.
  void cluster?.nameServers();
  serviceManager.ready(`${start.adopted + start.takenAgain} locks of libvirt, ${api.holds()} holds`);

  const signal = await ended;
  await Promise.all([api.close(), lockd.stop()]);
  await cluster?.end();
  guard?.leave();
  log.info({ signal, holds: api.holds(), locks: lockd.counts().locks }, 'stopped');
  return 0;
}

function socketOf(sockets: Readonly<Record<string, number>>, name: string): number {
  const fd = sockets[name];
  if (fd !== undefined) return fd;
  throw new HoldfastError('USAGE', `this is started by holdfastd itself, and has no socket '${name}'`);
}

/** The keeper alone ends it: a terminal's Ctrl-C reaches both, and a hang-up is the keeper's to understand. */
function endOfService(log: DaemonLog): Promise<string> {
  const ignored = (signal: string): void => log.debug({ signal }, 'left to the keeper');
  process.on('SIGINT', ignored).on('SIGHUP', ignored);
  // Also a second one: the default of the signal would end it in the middle.
  return new Promise((resolve) => process.on('SIGTERM', resolve));
}

function logStart(
  log: DaemonLog,
  { adopted, takenAgain, lost, notUnderstood }: LockdStart,
  { lockdSocket }: DaemonOptions,
  restarts: number,
): void {
  log.info({ adopted, takenAgain, socket: lockdSocket, restarts }, 'serving libvirt');
  for (const record of lost) log.error({ record }, 'somebody else has what was held before');
  for (const record of notUnderstood)
    log.error(
      { record },
      'written by another build: it stays locked until one that can read it gives it back',
    );
}

type Level = 'debug' | 'info' | 'warn' | 'error';

const lockdLevels: Readonly<Record<LockdEvent['what'], Level>> = {
  acquired: 'debug',
  released: 'debug',
  refused: 'info',
  'owner ended': 'info',
  'owner signalled': 'warn',
  'keeper ended': 'error',
  'journal failed': 'error',
  'no connections accepted': 'error',
  'connection refused': 'warn',
  'connection closed for what it sent': 'warn',
};

function logLockdEvent(log: DaemonLog, { what, facts }: LockdEvent): void {
  log[lockdLevels[what]](facts, what);
}

const levels: Readonly<Partial<Record<DaemonEvent['event'], Level>>> = { lost: 'error', waiting: 'debug' };

/** What happens in the API; libvirt's part is logged as it comes. */
function logEvents(log: DaemonLog, events: EventLog): void {
  events.listen(({ id: _id, time: _time, event, ...facts }) => {
    if (event === 'lockd') return;
    log[levels[event] ?? 'info'](facts, event);
  });
}

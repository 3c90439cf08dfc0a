#!/usr/bin/env node
/**
 * The entry of `holdfastd`, which `holdfast serve` is too. The process that is started becomes the keeper; it starts this
 * program again, as the daemon, and that one is known by the sockets it is given.
 */
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { causeText, HoldfastError, isHoldfastError } from '../errors.js';
import { monotonicMs } from '../system/clock.js';
import { groupId } from '../system/group-id.js';
import { privateDirectory, runtimeDirectory } from '../system/runtime-directory.js';
import { version } from '../version.js';
import { writePid } from './keeper/guard-file.js';
import { logKeeper } from './keeper/keeper-log.js';
import { Keeper } from './keeper/keeper.js';
import { KeptThings } from './keeper/kept-things.js';
import {
  closeSockets,
  letGroupInTo,
  openSockets,
  preferActivated,
  type ServedSockets,
  type WantedSocket,
} from './keeper/listening-sockets.js';
import { openServiceStore, takeStoredLocks, thingsOf } from './keeper/service-store.js';
import { descriptorsOf, servedBy } from './keeper/served-descriptors.js';
import { takeActivatedSockets } from './keeper/socket-activation.js';
import { adoptedDaemon } from './keeper/start-keeper.js';
import { takeOver, type TakenOver } from './keeper/take-over.js';
import { renderDaemonHelp } from './option-table.js';
import { parseDaemonCommand, readDaemonOptions, type DaemonOptions } from './options.js';

const stdout = 1;
const stderr = 2;
const bug = 70;
/** A daemon that has lost its keeper starts another one within a second. */
const takeOverMsMax = 5_000;
const takeOverPauseMs = 50;

async function main(argv: readonly string[]): Promise<number> {
  const command = parseDaemonCommand(argv);
  if (command.wish === 'help') return say(renderDaemonHelp());
  if (command.wish === 'version') return say(`holdfastd ${version}\n`);
  const adopted = adoptedDaemon(process.env);
  const given = process.env['HOLDFAST_SOCKETS'];
  // What the daemon starts (virsh, qemu-img) is none of this.
  delete process.env['HOLDFAST_SOCKETS'];
  const options = await readDaemonOptions(command);
  const gid = options.group === undefined ? undefined : ownGroup(options.group, given === undefined);
  if (command.wish === 'check') await requireDrivers(options);
  if (command.wish === 'check') return say(`${JSON.stringify(options, null, 2)}\n`);
  if (given === undefined) return keep(options, gid, argv, adopted);
  letNewGroupIn(options, gid);
  const { runDaemon } = await import('./daemon.js');
  return runDaemon(options, JSON.parse(given) as Record<string, number>, gid);
}

async function keep(
  options: DaemonOptions,
  gid: number | undefined,
  argv: readonly string[],
  adopted: ReturnType<typeof adoptedDaemon>,
): Promise<number> {
  const successorPath = join(privateDirectory(runtimeDirectory()), 'keeper.sock');
  const stored = takeStoredLocks();
  const store = openServiceStore(stored, (error) =>
    logKeeper('the service manager takes no more descriptors', { error: error.message }),
  );
  const { before, served, closeOthers } =
    adopted === undefined
      ? await takePlace(options, gid, successorPath)
      : { before: undefined, served: servedBy(adopted.sockets) };
  const own = [process.execPath, fileURLToPath(import.meta.url), ...argv] as const;
  const keeper = new Keeper({
    daemon: own,
    check: [...own, '--check'],
    sockets: descriptorsOf(served),
    log: logKeeper,
    successorPath,
    things: before?.things ?? { lockd: thingsOf(stored), api: new KeptThings() },
    ...(store === undefined ? {} : { store }),
    ...(adopted === undefined ? {} : { adopt: adopted.daemon }),
  });
  before?.confirm();
  closeOthers?.();
  if (adopted !== undefined || before !== undefined)
    for (const guard of Object.values(served.guards)) writePid(guard);
  if ((await keeper.run()) === 'stopped') {
    keeper.close();
    closeSockets(served);
  }
  return 0;
}

/** From the keeper that runs, if it is to be taken over from; else where nobody serves. */
async function takePlace(
  options: DaemonOptions,
  gid: number | undefined,
  successorPath: string,
): Promise<{
  readonly before: TakenOver | undefined;
  readonly served: ServedSockets;
  readonly closeOthers?: () => void;
}> {
  const wanted = wantedSockets(options, gid);
  // Once: what it finds it takes out of the environment.
  const activated = takeActivatedSockets(wanted.map(({ name }) => name));
  const end = monotonicMs() + takeOverMsMax;
  for (;;) {
    const before = options.takeOver ? takeOver(successorPath) : undefined;
    if (before !== undefined)
      return { before, ...preferActivated(servedBy(before.sockets), wanted, activated) };
    try {
      return { before, served: openSockets(wanted, options.pidFile, activated, successorPath) };
    } catch (error) {
      // Somebody serves whose keeper nobody can ask yet: it is just being replaced.
      if (!options.takeOver || !isHoldfastError(error, 'IN_USE') || monotonicMs() >= end) throw error;
    }
    await pause(takeOverPauseMs);
  }
}

function wantedSockets(
  { lockdSocket, apiSocket, pidFile }: DaemonOptions,
  gid: number | undefined,
): readonly WantedSocket[] {
  // libvirt makes it so itself, for its own sockets that everybody may reach; but it may start later.
  const isLibvirts = pidFile !== undefined && process.geteuid?.() === 0;
  return [
    { name: 'lockd', path: lockdSocket, ...(isLibvirts ? { folderMode: 0o755 } : {}) },
    { name: 'api', path: apiSocket, ...(gid === undefined ? {} : { gid }) },
  ];
}

/** The keeper let those in whom its configuration named when it began. Who cannot be let in now is no reason to serve nobody. */
function letNewGroupIn(options: DaemonOptions, gid: number | undefined): void {
  try {
    for (const socket of wantedSockets(options, gid)) letGroupInTo(socket);
  } catch (error) {
    writeSync(stderr, `holdfastd: the group is not let in: ${causeText(error)}\n`);
  }
}

/** As the daemon does at its start: throws what is wrong with one of them. The keeper itself needs nothing of them. */
async function requireDrivers({ drivers, config }: DaemonOptions): Promise<void> {
  const { openClusterDriver } = await import('../index.js');
  const options = { drivers, ...(config === undefined ? {} : { configuration: config }) };
  const cluster = await openClusterDriver(options);
  if (cluster === undefined) return;
  const { requireAble } = await import('./cluster/cluster-locks.js');
  try {
    requireAble(cluster);
  } finally {
    await cluster.end();
  }
}

/**
 * A user can give a file to groups of his own only (chown(2)). One that the system's configuration names is meant for root's daemon, and
 * no reason to have none. `first`: the keeper's look, or a check.
 */
function ownGroup(name: string, first: boolean): number | undefined {
  const gid = first ? gidOf(name) : groupId(name);
  if (gid === undefined) {
    // It is gone since the keeper began, which is no reason for a daemon that follows to serve nobody.
    writeSync(stderr, `holdfastd: there is no group ${name} any more\n`);
    return undefined;
  }
  const groups = [process.getegid?.(), ...(process.getgroups?.() ?? [])];
  if (process.geteuid?.() === 0 || groups.includes(gid)) return gid;
  if (first) writeSync(stderr, `holdfastd: the group ${name} is not let in: this user is not in it\n`);
  return undefined;
}

function gidOf(group: string): number {
  const gid = groupId(group);
  if (gid !== undefined) return gid;
  throw new HoldfastError('CONFIG', `there is no group ${group}`, {
    remedy: 'Make it, or name another one.',
  });
}

function say(text: string): number {
  writeSync(stdout, text);
  return 0;
}

function failed(error: unknown): number {
  const known = isHoldfastError(error);
  if (process.argv.includes('--json')) {
    const data = known ? error : new HoldfastError('INTERNAL', String(error), { cause: error });
    writeSync(stderr, `${JSON.stringify(data)}\n`);
    return data.exitCode;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  writeSync(
    stderr,
    known ? `holdfastd: ${error.message}\n  try       ${error.remedy}\n` : `holdfastd: ${text}\n`,
  );
  return known ? error.exitCode : bug;
}

void main(process.argv.slice(2))
  .catch(failed)
  .then((status) => process.exit(status));

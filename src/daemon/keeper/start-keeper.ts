/** The daemon's way back when somebody has ended its keeper: it starts another one, and gives it everything. */
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { pid } from 'node:process';
import { peerCredentials } from '../../system/peer-credentials.js';
import { processStartTime } from '../../system/process.js';
import { channelNames, type ChannelName } from './channel-names.js';
import { descriptorNumbers, type AdoptedDaemon } from './daemon-process.js';

export interface StartKeeperOptions {
  /** The program and arguments of the keeper. */
  readonly keeper: readonly [program: string, ...args: string[]];
  /** As the daemon got them, in `HOLDFAST_SOCKETS`. */
  readonly sockets: Readonly<Record<string, number>>;
  /** The keeper's ends of new channels, as `Channel.renew` gives them. They are closed here. */
  readonly channels: Readonly<Record<ChannelName, readonly number[]>>;
  readonly failed: (error: Error) => void;
}

/** A keeper, as nobody else who gets its pid. */
export interface KeeperProcess {
  readonly pid: number;
  readonly startTime: number;
}

/** The keeper that has started this process. Undefined: it has ended. */
export function ownKeeper(channel: number): KeeperProcess | undefined {
  // Whoever has made a pair of sockets is the peer of both (unix(7), SO_PEERCRED).
  const { pid: keeperPid } = peerCredentials(channel);
  const startTime = processStartTime(keeperPid);
  // After that, and as it is now: a parent that has ended is the parent no more, and so its pid was nobody else's.
  return startTime === undefined || keeperPid !== process.ppid ? undefined : { pid: keeperPid, startTime };
}

/** What such a keeper finds in its environment. */
const daemonVariable = 'HOLDFAST_DAEMON';

/** It runs on when this process ends. Undefined: it could not be started. */
export function startKeeper({
  keeper,
  sockets,
  channels,
  failed,
}: StartKeeperOptions): KeeperProcess | undefined {
  const [program, ...args] = keeper;
  const passed: Record<string, number> = {};
  for (const [name, fd] of Object.entries(sockets)) if (!name.startsWith('channel:')) passed[name] = fd;
  for (const name of channelNames) {
    for (const [index, fd] of channels[name].slice(0, -1).entries()) passed[`channel:${name}:${index}`] = fd;
    passed[`channel:${name}`] = channels[name].at(-1) ?? -1;
  }
  const child = spawn(program, args, {
    stdio: ['ignore', 'inherit', 'inherit', ...Object.values(passed)],
    detached: true,
    env: {
      ...process.env,
      HOLDFAST_SOCKETS: JSON.stringify(descriptorNumbers(passed)),
      [daemonVariable]: JSON.stringify({ pid, startTime: processStartTime(pid) }),
    },
  });
  child.on('error', failed);
  child.unref();
  for (const fd of channelNames.flatMap((name) => channels[name])) closeSync(fd);
  // Even if it has ended: Node waits for it later, in its own loop.
  const startTime = child.pid === undefined ? undefined : processStartTime(child.pid);
  if (child.pid !== undefined && startTime !== undefined) return { pid: child.pid, startTime };
  // One that cannot be told from others could not be ended either.
  child.kill('SIGKILL');
  return undefined;
}

/** Undefined: this process is no keeper that a daemon has started. Takes it out of the environment. */
export function adoptedDaemon(
  environment: NodeJS.ProcessEnv,
): { readonly sockets: Readonly<Record<string, number>>; readonly daemon: AdoptedDaemon } | undefined {
  const { [daemonVariable]: said, HOLDFAST_SOCKETS: numbers } = environment;
  if (said === undefined || numbers === undefined) return undefined;
  delete environment[daemonVariable];
  delete environment['HOLDFAST_SOCKETS'];
  const { pid: daemonPid, startTime } = JSON.parse(said) as { pid: number; startTime: number };
  const sockets = JSON.parse(numbers) as Record<string, number>;
  const channels: Record<ChannelName, number[]> = { lockd: [], api: [] };
  // In the order in which they were passed.
  for (const [passed, fd] of Object.entries(sockets)) {
    const name = channelNames.find((one) => `${passed}:`.startsWith(`channel:${one}:`));
    if (name === undefined) continue;
    channels[name].push(fd);
    delete sockets[passed];
  }
  return { sockets, daemon: { pid: daemonPid, startTime, channels } };
}

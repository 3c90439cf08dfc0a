/** The daemon's way back when somebody has ended its keeper: it starts another one, and gives it everything. */
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { pid } from 'node:process';
import { processStartTime } from '../../system/process.js';
import { channelNames, type ChannelName } from './channel-names.js';
import { descriptorNumbers, type AdoptedDaemon } from './daemon-process.js';

export interface StartKeeperOptions {
  /** The program and arguments of the keeper. */
  readonly keeper: readonly [program: string, ...args: string[]];
  /** As the daemon got them, in `HOLDFAST_SOCKETS`. */
  readonly sockets: Readonly<Record<string, number>>;
  /** The keeper's ends of new channels, with everything in their queues. They are closed here. */
  readonly channels: Readonly<Record<ChannelName, number>>;
  readonly failed: (error: Error) => void;
}

/** What such a keeper finds in its environment. */
const daemonVariable = 'HOLDFAST_DAEMON';

/** It runs on when this process ends. */
export function startKeeper({ keeper, sockets, channels, failed }: StartKeeperOptions): void {
  const [program, ...args] = keeper;
  const passed: Record<string, number> = {};
  for (const [name, fd] of Object.entries(sockets)) if (!name.startsWith('channel:')) passed[name] = fd;
  for (const name of channelNames) passed[`channel:${name}`] = channels[name];
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
  for (const name of channelNames) closeSync(channels[name]);
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
  const channels = Object.fromEntries(channelNames.map((name) => [name, sockets[`channel:${name}`] ?? -1]));
  for (const name of channelNames) delete sockets[`channel:${name}`];
  return {
    sockets,
    daemon: { pid: daemonPid, startTime, channels: channels as Record<ChannelName, number> },
  };
}

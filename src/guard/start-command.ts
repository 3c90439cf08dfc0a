/** Starts the command of a guard, with descriptors that were sent to it. */
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { withOpenFilesSoft } from '../system/limits.js';
import { DescriptorMessages } from '../system/pass-descriptors.js';
import { guardDescriptors } from './guard-channel.js';
import type { GuardedCommand } from './guard-words.js';

export interface RunningCommand {
  readonly pid: number;
  readonly hasEnded: boolean;
  /** As shells have it: 128 and the number of a signal. */
  readonly ended: Promise<number>;
  /** For whoever asks the kernel for all children that have ended, and so takes this one's status away from Node. */
  noteEnd(status: number): void;
}

/** One byte, which is there so that there is a message. */
const messageBytes = 1;

/**
 * What it gives instead of a command is the error of spawn.
 * @param whenEnded called once, before anything else can be done about it.
 */
export async function startCommand(
  command: GuardedCommand,
  whenEnded: (status: number) => void,
): Promise<RunningCommand | { readonly code: string; readonly message: string }> {
  const { file, argv, env, openFilesSoft, locks } = command;
  const [argv0, ...args] = argv;
  const numbers = receiveDescriptors(command.descriptors);
  const stdio = Array.from(
    { length: Math.max(...numbers.keys()) + 1 },
    (_, fd) => numbers.get(fd) ?? 'ignore',
  );
  const start = (): ReturnType<typeof spawn> => spawn(file, args, { stdio, argv0, env: { ...env } });
  const child =
    openFilesSoft === undefined
      ? start()
      : withOpenFilesSoft(openFilesSoft === 'unlimited' ? undefined : openFilesSoft, start);
  for (const [target, fd] of numbers) if (!locks.includes(target)) closeSync(fd);
  const { pid } = child;
  if (pid === undefined) return startError(child);
  let hasEnded = false;
  let end: (status: number) => void = () => undefined;
  const ended = new Promise<number>((resolve) => (end = resolve));
  const noteEnd = (status: number): void => {
    if (hasEnded) return;
    hasEnded = true;
    whenEnded(status);
    end(status);
  };
  child.once('exit', (code, signal) =>
    noteEnd(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
  );
  return {
    pid,
    ended,
    noteEnd,
    get hasEnded() {
      return hasEnded;
    },
  };
}

/** By the number that each is to have. They were sent before the order to start. */
function receiveDescriptors(targets: readonly number[]): Map<number, number> {
  const messages = new DescriptorMessages(guardDescriptors.messages, messageBytes);
  const received: number[] = [];
  while (received.length < targets.length) {
    const message = messages.receive(true);
    if (message === undefined) throw new Error('the supervisor ended before it had sent its descriptors');
    if (message !== 'nothing') received.push(...message.descriptors);
  }
  closeSync(guardDescriptors.messages);
  return new Map(targets.map((target, index) => [target, received[index] ?? -1]));
}

function startError(child: ReturnType<typeof spawn>): Promise<{ code: string; message: string }> {
  return new Promise((resolve) => {
    child.once('error', ({ code = 'UNKNOWN', message }: NodeJS.ErrnoException) => resolve({ code, message }));
  });
}

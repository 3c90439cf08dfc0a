/** A command whose parent is the supervisor itself, which is also the one that orphans below it fall to. */
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { HoldfastError } from '../errors.js';
import { pauseDescendants, resumePaused, stopDescendants, type Paused } from '../guard/stop-descendants.js';
import { monotonicMs } from '../system/clock.js';
import { hasChildren, reapOrphans } from '../system/descendants.js';
import type { CommandTree } from './command-tree.js';

export function ownTree(child: ChildProcess): CommandTree {
  const reap = (): void => reapOrphans(child.pid);
  process.on('SIGCHLD', reap);
  const ended = childEnd(child);
  ended.catch(() => undefined); // Whoever asks for it hears; a loss may come first.
  let paused: Paused = [];
  return {
    pid: child.pid ?? 0,
    ended,
    signal: (signal) => void child.kill(signal),
    isEmpty: () => {
      reapOrphans(undefined);
      return !hasChildren();
    },
    stop: (graceMs) => {
      const killAtMs = monotonicMs() + graceMs;
      return stopDescendants(reap, () => monotonicMs() >= killAtMs);
    },
    pause: async () => {
      paused = [...paused, ...(await pauseDescendants(reap))];
    },
    resume: async () => {
      resumePaused(paused);
      paused = [];
    },
    leave: () => void process.off('SIGCHLD', reap),
  };
}

/** What a start that failed is to whoever asked for it. */
export function startFailure(cause: NodeJS.ErrnoException): HoldfastError {
  // The file was there a moment ago; ENOENT is its interpreter's. Shells say 127 as well.
  const code = cause.code === 'ENOENT' ? 'COMMAND_NOT_FOUND' : 'COMMAND_NOT_EXECUTABLE';
  return new HoldfastError(code, `the command cannot be started: ${cause.message}`, { cause });
}

function childEnd(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => reject(startFailure(cause)));
    child.once('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}

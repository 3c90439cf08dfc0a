/**
 * Whether the storage of a path answers at all. A dead FUSE program, or an NFS server that is gone, lets a call wait for ever, and with it
 * this process, which can then not even say so: another one asks first.
 */
import { spawn } from 'node:child_process';
import { HoldfastError } from '../errors.js';

/** A disk that is woken up needs some seconds. */
const answerMsMax = 10_000;

/** Throws `DRIVER_FAILED` for the first that does not answer in time. */
export async function requireAnswers(paths: readonly string[], answers = isAnswered): Promise<void> {
  for (const path of paths) {
    if (await answers(path)) continue;
    throw new HoldfastError('DRIVER_FAILED', `the storage of ${path} does not answer`, {
      resource: path,
      remedy:
        'Look in /proc/mounts for its mount: a FUSE program that hangs or has ended, or a server that is gone. `umount -l` takes such a mount away.',
    });
  }
}

function isAnswered(path: string): Promise<boolean> {
  return endsInTime('stat', ['-L', '--', path], answerMsMax);
}

/** Also true where it cannot be started: then nothing is known. Whether it succeeds does not matter. */
export function endsInTime(program: string, args: readonly string[], answerMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: 'ignore' });
    const timer = setTimeout(() => {
      // Where not even that ends it, nobody waits for it.
      child.kill('SIGKILL');
      child.unref();
      resolve(false);
    }, answerMs);
    const answered = (): void => {
      clearTimeout(timer);
      resolve(true);
    };
    child.once('error', answered);
    child.once('exit', answered);
  });
}

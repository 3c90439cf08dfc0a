/**
 * All output of the command. Only writeSync: touching process.stdout or process.stderr makes Node set O_NONBLOCK on
 * the descriptor, which a command that takes this process's place would inherit (fcntl(2): a status flag belongs to
 * the open file description).
 */
import { writeSync } from 'node:fs';

const stdout = 1;
const stderr = 2;
/** Whoever left a descriptor non-blocking and full is asked again this often. */
const retryMs = 5;

/** False: nobody reads it any longer. */
export function writeOut(text: string): boolean {
  return writeAll(stdout, text);
}

export function writeError(text: string): void {
  try {
    writeAll(stderr, text);
  } catch {
    // stderr is closed or full: there is nobody left to tell.
  }
}

function writeAll(fd: number, text: string): boolean {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // A reader that has seen enough (`| head`) is no error; Node ignores SIGPIPE.
      if (code === 'EPIPE') return false;
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
    }
  }
  return true;
}

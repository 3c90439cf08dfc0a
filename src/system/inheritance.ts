/**
 * Tells whether something that was handed on is still somebody's: a pipe that nobody writes to.
 *
 * Whoever inherits its writing end has it until it ends. The reading end stays here, and is at its end as soon
 * as the last of them is gone; the kernel counts, so no process has to be found.
 */
import { closeSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { libcFunction, systemError } from './libc.js';

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;

const pipe2 = libcFunction<[descriptors: Buffer, flags: number]>('int pipe2(void *descriptors, int flags)');

export class Inheritance {
  /** To be handed on with what it stands for. */
  readonly descriptor: number;
  readonly #reading: number;

  constructor() {
    const descriptors = Buffer.alloc(8);
    // Whoever inherits the writing end could write to it, which means nothing; nobody here ever does.
    if (pipe2(descriptors, O_CLOEXEC | O_NONBLOCK) === -1) throw systemError('pipe2');
    this.#reading = descriptors.readInt32LE(0);
    this.descriptor = descriptors.readInt32LE(4);
  }

  /**
   * Lets go of it, once. `whenGone` is called when nobody has it any longer: at once if nobody inherited it. Waiting
   * keeps no process alive.
   */
  letGo(whenGone: () => void): void {
    closeSync(this.descriptor);
    if (isAtEnd(this.#reading)) {
      closeSync(this.#reading);
      whenGone();
      return;
    }
    const socket = new Socket({ fd: this.#reading, readable: true, writable: false });
    socket.on('error', () => undefined);
    socket.once('close', whenGone);
    socket.resume();
    socket.unref();
  }
}

function isAtEnd(fd: number): boolean {
  try {
    return readSync(fd, Buffer.alloc(1)) === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false;
    throw error;
  }
}

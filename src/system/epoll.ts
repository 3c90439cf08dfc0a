/**
 * Waits for many descriptors at once (epoll(7)), in a thread that does nothing else meanwhile.
 *
 * Node's own loop costs some 15 us for each message of a socket; a call of epoll_wait, recv or send costs 0.5 us above
 * the kernel's own work.
 */
import { closeSync } from 'node:fs';
import { errno, libcFunction, systemError } from './libc.js';

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EINTR = 4;
const eventsMax = 256;
/** `struct epoll_event` is packed on x86-64 only (epoll_event(3type)): u32 events, then 8 bytes of data. */
const dataOffset = process.arch === 'x64' ? 4 : 8;
const eventBytes = dataOffset + 8;

export const readable = 0x1;
export const writable = 0x4;
const epollCreate = libcFunction<[flags: number]>('int epoll_create1(int flags)');
const epollControl = libcFunction<[epoll: number, operation: number, fd: number, event: Buffer]>(
  'int epoll_ctl(int epoll, int operation, int fd, void *event)',
);
const epollWait = libcFunction<[epoll: number, events: Buffer, eventsMax: number, timeoutMs: number]>(
  'int epoll_wait(int epoll, void *events, int events_max, int timeout)',
);

export class Epoll {
  readonly #fd: number;
  readonly #event = Buffer.alloc(eventBytes);
  readonly #events = Buffer.alloc(eventBytes * eventsMax);

  constructor() {
    this.#fd = epollCreate(EPOLL_CLOEXEC);
    if (this.#fd === -1) throw systemError('epoll_create1');
  }

  add(fd: number, events: number): void {
    this.#control(EPOLL_CTL_ADD, fd, events);
  }

  change(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  /** Before it is closed: a duplicate somewhere else would keep it in. */
  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  /**
   * Blocks this thread until something happens or the time is over (-1: never), and calls `handle` for each. Gives how
   * much happened: 0 when the time is over or a signal came.
   */
  wait(timeoutMs: number, handle: (fd: number, events: number) => void): number {
    const count = epollWait(this.#fd, this.#events, eventsMax, timeoutMs);
    if (count === -1) {
      const number = errno();
      if (number !== EINTR) throw systemError('epoll_wait', number);
      return 0;
    }
    for (let index = 0; index < count; index++) {
      const at = index * eventBytes;
      handle(this.#events.readInt32LE(at + dataOffset), this.#events.readUInt32LE(at));
    }
    return count;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #control(operation: number, fd: number, events: number): void {
    this.#event.writeUInt32LE(events, 0);
    this.#event.writeInt32LE(fd, dataOffset);
    if (epollControl(this.#fd, operation, fd, this.#event) === -1) throw systemError('epoll_ctl');
  }
}

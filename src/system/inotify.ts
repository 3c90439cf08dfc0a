/**
 * That somebody opened, closed, renamed or removed a file (inotify(7)), without having it open: a watch on a file is
 * in nobody's way, neither of umount nor of a lock. Only this host's own doings show, and not who it was.
 */
import { closeSync } from 'node:fs';
import { errno, libcFunction, systemError } from './libc.js';

const IN_ATTRIB = 0x4;
const IN_CLOSE_WRITE = 0x8;
const IN_CLOSE_NOWRITE = 0x10;
const IN_OPEN = 0x20;
const IN_DELETE_SELF = 0x400;
const IN_MOVE_SELF = 0x800;
const IN_IGNORED = 0x8000;
const IN_NONBLOCK = 0x800;
const IN_CLOEXEC = 0x80000;

const watched = IN_ATTRIB | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_OPEN | IN_DELETE_SELF | IN_MOVE_SELF;

/** `struct inotify_event`: i32 watch, u32 mask, u32 cookie, u32 length of the name that follows; files have no name. */
const eventBytes = 16;
/** More events than anybody needs to see at once; the rest is read with the next round. */
const bufferBytes = 64 * 1024;
/** Somebody who opens it all the time must not keep us reading. */
const roundsMax = 16;

const init = libcFunction<[flags: number]>('int inotify_init1(int flags)');
const add = libcFunction<[fd: number, path: string, mask: number]>(
  'int inotify_add_watch(int fd, const char *path, uint32_t mask)',
);
const remove = libcFunction<[fd: number, watch: number]>('int inotify_rm_watch(int fd, int watch)');

/** Node's own would make an error each time that there is nothing to read, which costs twenty times as much. */
const read = libcFunction<[fd: number, buffer: Buffer, count: number]>(
  'long read(int fd, void *buffer, unsigned long count)',
);

/** What happened to one file: numbers of inotify(7), in order; the kernel leaves out what repeats itself at once. */
export interface FileEvent {
  readonly watch: number;
  readonly mask: number;
  /** The watch is over: the file is gone, or its file system was unmounted. */
  readonly over: boolean;
}

export class FileEvents {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(bufferBytes);

  /** Throws a system error: a user may have 128 of these (sysctl fs.inotify.max_user_instances). */
  constructor() {
    this.#fd = init(IN_NONBLOCK | IN_CLOEXEC);
    if (this.#fd === -1) throw systemError('inotify_init1', errno());
  }

  /** The number of the watch: the same for every path of a file. Undefined: not permitted to read it, or not there. */
  watch(path: string): number | undefined {
    const watch = add(this.#fd, path, watched);
    return watch === -1 ? undefined : watch;
  }

  /** Ending one that is over is no error. */
  unwatch(watch: number): void {
    remove(this.#fd, watch);
  }

  /** What happened since the last call; does not wait. */
  read(): readonly FileEvent[] {
    const events: FileEvent[] = [];
    for (let round = 0; round < roundsMax; round++) {
      const bytes = read(this.#fd, this.#buffer, bufferBytes);
      if (bytes <= 0) break;
      for (let at = 0; at + eventBytes <= bytes; at += eventBytes + this.#buffer.readUInt32LE(at + 12)) {
        const mask = this.#buffer.readUInt32LE(at + 4);
        events.push({ watch: this.#buffer.readInt32LE(at), mask, over: (mask & IN_IGNORED) !== 0 });
      }
    }
    return events;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/**
 * A connection to the sanlock daemon on which this process is registered, and what it holds.
 *
 * The daemon keeps the leases of a connection until the last descriptor of it is closed, whoever has that, and it ends
 * the process that registered, by its pid, if it cannot renew them. A process can register several times, and each
 * connection is its own holder (seen of 3.8.5), so every grant has one.
 */
import { ftruncateSync, readSync } from 'node:fs';
import { HoldfastError } from '../../errors.js';
import { closeDescriptor } from '../../system/descriptors.js';
import { setInheritable } from '../../system/exec.js';
import { newMemoryFile } from '../../system/memory-file.js';
import { peerIsThere } from '../../system/socket-peer.js';
import {
  acquireLeases,
  killpath,
  noticeName,
  register,
  releaseAllLeases,
  releaseLeases,
} from './client-library.js';
import { leasesMax, type SanlockResource } from './client-structs.js';
import { inPlainWords, unreachable } from './explain-result.js';
import { SanlockError } from './sanlock-error.js';

const watchMs = 500;

/** For those who look whether the daemon is there still: one timer for all of this process. */
const watched = new Set<LeaseConnection>();
let watch: NodeJS.Timeout | undefined;

export class LeaseConnection {
  /** Whoever has it keeps the leases. */
  readonly descriptor: number;
  readonly #whenLost = new Set<(reason: HoldfastError) => void>();
  #queue: Promise<unknown> = Promise.resolve();
  #failure: HoldfastError | undefined;
  #notice: number | undefined;
  #closed = false;

  private constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  /** @throws HoldfastError DRIVER_FAILED, NOT_PERMITTED */
  static open(): LeaseConnection {
    try {
      const descriptor = register();
      setInheritable(descriptor, false);
      return new LeaseConnection(descriptor);
    } catch (error) {
      throw error instanceof SanlockError ? unreachable(error) : error;
    }
  }

  /** Takes up to 8 leases or none, and does not wait for an owner that is dead. Throws `SanlockError`. */
  acquire(resources: readonly SanlockResource[], ownerName: string): Promise<void> {
    return this.#inTurn(() => acquireLeases(this.descriptor, resources, ownerName, { noWait: true }));
  }

  /** Gives leases back; those that it has not any more are no error. */
  async release(resources: readonly SanlockResource[]): Promise<void> {
    if (resources.length === 0 || this.#closed || !this.stillThere()) return;
    const give = (some: readonly SanlockResource[]): Promise<boolean> =>
      this.#inTurn(() => releaseLeases(this.descriptor, some)).then(
        () => true,
        (error: unknown) => {
          if (!(error instanceof SanlockError) || (error.code !== 'EPERM' && this.stillThere())) throw error;
          return false;
        },
      );
    // Never more than 8 in a call: the daemon dies of it (3.8.5).
    if (resources.length <= leasesMax && (await give(resources))) return;
    for (const resource of resources) await give([resource]);
  }

  /** Gives back all, whoever else has the connection. */
  async releaseAll(): Promise<void> {
    if (this.#closed || !this.stillThere()) return;
    await this.#inTurn(() => releaseAllLeases(this.descriptor)).catch((error: unknown) => {
      if (!(error instanceof SanlockError) || this.stillThere()) throw error;
    });
  }

  /** What the daemon runs when it cannot renew. To be said before anything is taken. @throws HoldfastError as `open` */
  killpath(path: string, args: string): Promise<void> {
    return inPlainWords(() => this.#inTurn(() => killpath(this.descriptor, path, args, true)));
  }

  /** A descriptor of this process: as soon as somebody writes to it (/proc/PID/fd), the daemon cannot renew what is held. */
  notice(): number {
    return (this.#notice ??= newMemoryFile(noticeName));
  }

  /** Whether the daemon has it still. */
  stillThere(): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#closed || peerIsThere(this.descriptor)) return true;
    this.#failure = new HoldfastError('LOST', 'the sanlock daemon has ended, or has let go of this process', {
      remedy: 'Stop what runs: other hosts can take the leases when they count this one as dead.',
    });
    return false;
  }

  /** Whether the daemon waits for the leases to be given back, because it cannot renew them. */
  isFailing(): boolean {
    if (this.#closed || this.#notice === undefined) return false;
    return readSync(this.#notice, Buffer.alloc(1), 0, 1, 0) > 0;
  }

  /** They have been given back, and can be asked for again. */
  failedNoLonger(): void {
    if (this.#notice !== undefined) ftruncateSync(this.#notice);
  }

  /** Tells those who want to know, once. */
  look(): void {
    const reason = this.stillThere() ? (this.isFailing() ? notRenewed() : undefined) : this.#failure;
    if (reason === undefined) return;
    watched.delete(this);
    for (const tell of this.#whenLost) tell(reason);
    this.#whenLost.clear();
  }

  /** Calls `tell` once if the daemon ends, or cannot renew; gives a function that ends that. Keeps no process alive. */
  onLoss(tell: (reason: HoldfastError) => void): () => void {
    this.#whenLost.add(tell);
    watched.add(this);
    watch ??= setInterval(lookAtAll, watchMs).unref();
    return () => {
      this.#whenLost.delete(tell);
      if (this.#whenLost.size === 0) watched.delete(this);
    };
  }

  /** Closes this process's descriptor: what nobody else has is given back by the daemon, a moment later. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    watched.delete(this);
    void this.#closeDescriptors();
  }

  async #closeDescriptors(): Promise<void> {
    await this.#queue;
    closeDescriptor(this.descriptor);
    // After it: who cannot be told of a loss, and has the connection, is ended.
    if (this.#notice !== undefined) closeDescriptor(this.#notice);
  }

  /** The library answers the calls of a connection in their order, and only if they come one after another. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }
}

function notRenewed(): HoldfastError {
  return new HoldfastError(
    'LOST',
    'sanlock can no longer renew the leases: their storage fails, or does not answer in time',
    {
      remedy: 'Stop what runs, and give the leases back: sanlock kills who still has them 40 s later.',
    },
  );
}

function lookAtAll(): void {
  for (const connection of watched) connection.look();
  if (watched.size > 0) return;
  clearInterval(watch);
  watch = undefined;
}

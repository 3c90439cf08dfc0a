/**
 * Watches keys over one stream: any number of watches, and none of them misses anything.
 *
 * Each watch knows the revision from which on it has seen nothing. Whatever happens to the stream (the server goes, it has no
 * leader, the watch is cancelled), it is begun again from there, on another server if need be. Only where etcd has compacted
 * that revision something is missed: then `onGap` is called, and the watch goes on from what there is.
 */
import type { Stream } from './endpoint.js';
import type { KeyValue, WatchRequest, WatchResponse } from './messages.js';

export interface WatchListener {
  onPut?(kv: KeyValue): void;
  /** The key and, as `modRevision`, the revision in which it was deleted. */
  onDelete?(key: string, revision: number): void;
  /** What happened before this revision is not known. */
  onGap(revision: number): void;
}

interface Watch {
  readonly key: string;
  readonly rangeEnd?: string;
  /** The first revision that has not been seen. */
  next: number;
  readonly listener: WatchListener;
}

interface Source {
  readonly open: () => Promise<{
    readonly stream: Stream<WatchRequest, WatchResponse>;
    readonly endpoint: number;
  }>;
  /** A stream of this server failed. */
  readonly failed: (endpoint: number) => void;
}

const pauseMsMin = 50;
const pauseMsMax = 1_000;

export class WatchStream {
  readonly #source: Source;
  /** By the number under which the server knows it on the present stream. */
  readonly #watches = new Map<number, Watch>();
  #lastId = 0;
  /** absent -> opening -> open -> absent; `closed` is for good. */
  #state: 'absent' | 'opening' | 'open' | 'closed' = 'absent';
  #stream: Stream<WatchRequest, WatchResponse> | undefined;
  #pauseMs = pauseMsMin;

  constructor(source: Source) {
    this.#source = source;
  }

  /** Gives a function that ends it. */
  add(
    { key, rangeEnd, startRevision }: { key: string; rangeEnd?: string; startRevision: number },
    listener: WatchListener,
  ): () => void {
    const watch: Watch = {
      key,
      ...(rangeEnd === undefined ? {} : { rangeEnd }),
      next: startRevision,
      listener,
    };
    this.#create(watch);
    if (this.#state === 'absent') void this.#open();
    return () => {
      for (const [id, one] of this.#watches) if (one === watch) this.#remove(id);
    };
  }

  close(): void {
    this.#state = 'closed';
    this.#watches.clear();
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  #create(watch: Watch): void {
    const id = ++this.#lastId;
    this.#watches.set(id, watch);
    const { key, rangeEnd, next } = watch;
    this.#stream?.write({
      create: { key, ...(rangeEnd === undefined ? {} : { rangeEnd }), startRevision: next, watchId: id },
    });
  }

  #remove(id: number): void {
    this.#watches.delete(id);
    if (this.#state !== 'open') return;
    if (this.#watches.size > 0) {
      this.#stream?.write({ cancel: { watchId: id } });
    } else {
      this.#state = 'absent';
      this.#stream?.cancel();
      this.#stream = undefined;
    }
  }

  async #open(): Promise<void> {
    this.#state = 'opening';
    const opened = await this.#source.open().catch(() => undefined);
    if (this.#state !== 'opening') {
      opened?.stream.on('error', () => undefined).cancel();
      return;
    }
    if (opened === undefined || this.#watches.size === 0) {
      opened?.stream.on('error', () => undefined).cancel();
      this.#state = 'absent';
      if (this.#watches.size > 0) this.#again();
      return;
    }
    const { stream, endpoint } = opened;
    this.#stream = stream;
    this.#state = 'open';
    stream.on('data', (response: WatchResponse) => {
      this.#pauseMs = pauseMsMin;
      if (this.#stream === stream) this.#take(response);
    });
    const ended = (): void => {
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      this.#state = 'absent';
      this.#source.failed(endpoint);
      this.#again();
    };
    stream.on('error', ended);
    stream.on('end', ended);
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    for (const watch of watches) this.#create(watch);
  }

  #again(): void {
    const pauseMs = this.#pauseMs * (0.5 + Math.random());
    this.#pauseMs = Math.min(2 * this.#pauseMs, pauseMsMax);
    setTimeout(() => {
      if (this.#state === 'absent' && this.#watches.size > 0) void this.#open();
    }, pauseMs);
  }

  #take({ watchId, canceled, compactRevision, events, header, created }: WatchResponse): void {
    const watch = this.#watches.get(watchId);
    if (watch === undefined) return;
    if (canceled) {
      this.#watches.delete(watchId);
      if (compactRevision > watch.next) {
        watch.next = compactRevision;
        watch.listener.onGap(compactRevision);
        this.#create(watch);
      } else {
        // The server gives no reason that could be mended here: after a pause, over a new stream.
        this.#watches.set(watchId, watch);
        this.#stream?.cancel();
      }
      return;
    }
    if (created) return;
    // As long as there are older events to come, the header's revision is ahead of them.
    let upTo = events.length === 0 ? (header?.revision ?? 0) : 0;
    for (const { type, kv } of events) {
      if (kv === undefined || kv.modRevision < watch.next) continue;
      upTo = Math.max(upTo, kv.modRevision);
      if (type === 0) watch.listener.onPut?.(kv);
      else watch.listener.onDelete?.(kv.key.toString('utf8'), kv.modRevision);
    }
    watch.next = Math.max(watch.next, upTo + 1);
  }
}

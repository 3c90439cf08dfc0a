/** How many connections each user has who may only look: whoever takes them all would keep out those who lock. */
import type { Socket } from 'node:net';
import type { Peer } from './peer.js';

/** One that is too many stays this long, to be told so: Node's server says it to whoever has sent a request. */
const farewellMs = 1_000;
/** No user's number: all who may not even look count as one. Their requests are refused for that. */
const strangers = -1;

export class LookingConnections {
  readonly #max: number;
  readonly #peerOf: (socket: Socket) => Peer;
  /** By user; with those that are too many. */
  readonly #counts = new Map<number, number>();
  readonly #tooMany = new WeakSet<Socket>();

  /** @param peerOf throws for who may not even look. */
  constructor(max: number, peerOf: (socket: Socket) => Peer) {
    this.#max = max;
    this.#peerOf = peerOf;
  }

  /** A new one. At most twice as many as there may be are open at a time: those beyond that are closed without a word. */
  add(socket: Socket): void {
    const uid = this.#lookingUser(socket);
    if (uid === undefined) return;
    const count = (this.#counts.get(uid) ?? 0) + 1;
    this.#counts.set(uid, count);
    socket.once('close', () => {
      const left = (this.#counts.get(uid) ?? 0) - 1;
      if (left > 0) this.#counts.set(uid, left);
      else this.#counts.delete(uid);
    });
    if (count <= this.#max) return;
    if (count > this.#max * 2) {
      socket.destroy();
      return;
    }
    this.#tooMany.add(socket);
    const timer = setTimeout(() => socket.destroy(), farewellMs);
    socket.once('close', () => clearTimeout(timer));
  }

  isTooMany(socket: Socket): boolean {
    return this.#tooMany.has(socket);
  }

  /** Undefined: one who may change. */
  #lookingUser(socket: Socket): number | undefined {
    try {
      const { uid, may } = this.#peerOf(socket);
      return may === 'look' ? uid : undefined;
    } catch {
      return strangers;
    }
  }
}

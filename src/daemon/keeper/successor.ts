/**
 * The keeper's side when another one takes over: a private socket (0600), and who has connected to it. The other side is
 * take-over.ts.
 *
 * The other one says `give`, gets everything, and says `taken`. Until then it is this one that serves: where the other one
 * goes away before, nothing has happened. So at no time do two of them start daemons, and at no time has neither of
 * them the descriptors.
 */
import { closeSync, renameSync, rmSync } from 'node:fs';
import { readable, type Epoll } from '../../system/epoll.js';
import { peerCredentials } from '../../system/peer-credentials.js';
import { acceptConnection, listenMessages, setSendTimeout } from '../../system/unix-socket.js';
import { channelNames, type ChannelName } from './channel-names.js';
import { keepKind, KeepReader, KeepWriter } from './keep-message.js';
import type { KeptThings } from './kept-things.js';

/** What the other keeper has to say: it understands what it will get. */
export const takeOverVersion = '1';
/** One that does not read for so long will not read at all. */
const giveMsMax = 10_000;
const ownerOnly = 0o177;
const unpublishedSuffix = '.new';

export class SuccessorSocket {
  readonly #path: string;
  readonly #fd: number;
  readonly #epoll: Epoll;
  #isDeaf = false;

  /**
   * Nobody finds it before `publish`: one that takes over may yet end before it has, and then the keeper before it is to be
   * found there.
   */
  constructor(path: string, epoll: Epoll) {
    this.#path = path;
    this.#epoll = epoll;
    const unpublished = `${path}${unpublishedSuffix}`;
    rmSync(unpublished, { force: true });
    const umask = process.umask(ownerOnly);
    try {
      this.#fd = listenMessages(unpublished, 1);
    } finally {
      process.umask(umask);
    }
    epoll.add(this.#fd, readable);
  }

  /** Takes the place of a socket that is there; that nobody else is the keeper is known elsewhere. */
  publish(): void {
    renameSync(`${this.#path}${unpublishedSuffix}`, this.#path);
  }

  /** Undefined: it was nothing of this socket's, or nobody who may take over. */
  handle(fd: number): Successor | undefined {
    if (fd !== this.#fd) return undefined;
    let connection: number | undefined;
    try {
      connection = acceptConnection(fd, true);
    } catch {
      // No descriptors are left. Epoll would say it again at once.
      this.#epoll.change(fd, 0);
      this.#isDeaf = true;
    }
    if (connection === undefined) return undefined;
    const { pid, uid } = peerCredentials(connection);
    if (uid === process.geteuid?.()) return new Successor(connection, pid);
    closeSync(connection);
    return undefined;
  }

  /** To be called from time to time: perhaps there are descriptors again. */
  listenAgain(): void {
    if (this.#isDeaf) this.#epoll.change(this.#fd, readable);
    this.#isDeaf = false;
  }

  close(): void {
    this.#epoll.remove(this.#fd);
    closeSync(this.#fd);
    rmSync(this.#path, { force: true });
  }
}

export class Successor {
  readonly fd: number;
  readonly pid: number;
  readonly #reader: KeepReader;

  constructor(fd: number, pid: number) {
    this.fd = fd;
    this.pid = pid;
    this.#reader = new KeepReader(fd, closeSync);
  }

  /** `gone`: it has closed, or says what no keeper says. */
  listen(): 'give' | 'taken' | 'nothing' | 'gone' {
    let said: 'give' | 'taken' | 'gone' = 'gone';
    const read = this.#reader.read(false, ({ kind, record }) => {
      if (kind === keepKind.give && record.toString() === takeOverVersion) said = 'give';
      else if (kind === keepKind.taken) said = 'taken';
    });
    return read === 'nothing' ? read : said;
  }

  /** Throws where it is not taken. */
  give(sockets: Readonly<Record<string, number>>, things: Readonly<Record<ChannelName, KeptThings>>): void {
    setSendTimeout(this.fd, giveMsMax);
    const writer = new KeepWriter(this.fd);
    for (const [name, fd] of Object.entries(sockets)) writer.add(keepKind.socket, 0, name, [fd]);
    for (const name of channelNames) {
      writer.add(keepKind.channel, 0, name, []);
      things[name].writeTo(writer);
    }
    writer.add(keepKind.end, 0, '', []);
    writer.commit();
  }

  close(): void {
    closeSync(this.fd);
  }
}

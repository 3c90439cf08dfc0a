/**
 * The storage of the chaos test, and its outside observer: a server beside the cluster, which every command reaches whatever
 * has become of the network. For each disk it has a counter and a set, twice: once where it refuses a token that is older
 * than one that it has seen, and once where it takes what comes.
 *
 * Soundness of what it says of who was alive: `at` is taken before a process is looked at, so it was alive then; and a
 * process enters only after its locks were granted. So whoever is still alive when somebody else enters overlaps with them.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { boottimeMs } from '../../src/system/boot-clock.js';
import { readProcessStat } from '../../src/system/process.js';
import type { Cell, HeldDisk, HeldMode, History } from './history.js';

/** How exactly the end of a process is known, where nobody asks. */
const lookMs = 20;
const cells: readonly Cell[] = ['checked', 'unchecked'];

interface Content {
  counter: number;
  members: number[];
}

interface Process {
  readonly name: string;
  readonly run: string;
  readonly pid: number;
  readonly startTime: number;
  readonly disks: readonly HeldDisk[];
  aliveAt: number;
}

export class Storage {
  readonly path: string;
  readonly #history: History;
  readonly #server: Server;
  readonly #contents = new Map<string, Content>();
  /** Of each disk the highest token that was presented. */
  readonly #tokens = new Map<string, bigint>();
  readonly #alive = new Map<string, Process>();
  /** By run and pid, also of those that have ended since they said what is read only now. */
  readonly #names = new Map<string, string>();
  readonly #timer: NodeJS.Timeout;

  private constructor(path: string, history: History) {
    [this.path, this.#history] = [path, history];
    this.#server = createServer((socket) => this.#serve(socket)).listen(path);
    this.#timer = setInterval(() => this.#look(), lookMs);
  }

  static async start(path: string, history: History): Promise<Storage> {
    const storage = new Storage(path, history);
    await once(storage.#server, 'listening');
    return storage;
  }

  /** Runs that have a process which lives. */
  get alive(): readonly { readonly run: string; readonly pid: number }[] {
    this.#look();
    return [...this.#alive.values()].map(({ run, pid }) => ({ run, pid }));
  }

  get sets(): readonly { readonly disk: string; readonly cell: Cell; readonly members: readonly number[] }[] {
    return [...this.#contents].map(([name, { members }]) => {
      const [disk = '', cell = ''] = name.split(' ');
      return { disk, cell: cell as Cell, members };
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#server.close();
  }

  #content(disk: string, cell: Cell): Content {
    const name = `${disk} ${cell}`;
    const content = this.#contents.get(name) ?? { counter: 0, members: [] };
    this.#contents.set(name, content);
    return content;
  }

  /** Looks at all who have entered; gives when it began. */
  #look(): number {
    const at = boottimeMs();
    for (const [name, one] of this.#alive) {
      if (isAlive(one)) one.aliveAt = at;
      else {
        this.#alive.delete(name);
        // When it was last seen is all that counts, so it is told once.
        this.#history.add({ kind: 'alive', at: one.aliveAt, process: name });
        this.#history.add({ kind: 'gone', at, process: name });
      }
    }
    return at;
  }

  #serve(socket: Socket): void {
    let rest = '';
    socket.on('error', () => undefined); // It was killed.
    socket.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) socket.write(`${this.#answer(line.split(' '))}\n`);
    });
  }

  #answer([what = '', ...words]: readonly string[]): string {
    if (what === 'enter') return this.#enter(words);
    if (what === 'read') return this.#read(words);
    if (what === 'write') return this.#write(words);
    return 'what?';
  }

  /** `enter RUN HOST PID DISK=MODE=TOKEN...` */
  #enter([run = '', host = '', pidText = '', ...held]: readonly string[]): string {
    const pid = Number(pidText);
    const startTime = readProcessStat(pid)?.startTime;
    if (startTime === undefined) return 'dead';
    const disks = held.map((word) => {
      const [disk = '', mode = '', token = ''] = word.split('=');
      return { disk, mode: mode as HeldMode, token };
    });
    const name = `${pid}:${startTime}`;
    const at = this.#look();
    const one: Process = { name, run, pid, startTime, disks, aliveAt: at };
    // It may have been killed since it said so.
    if (!isAlive(one)) return 'dead';
    this.#alive.set(name, one);
    this.#names.set(`${run} ${pid}`, name);
    this.#history.add({ kind: 'enter', at, run, process: name, host, disks });
    return disks.map(({ disk, token }) => this.#present(disk, token)).every(Boolean) ? 'ok' : 'stale';
  }

  /** `read DISK`: the counters and the sets. */
  #read([disk = '']: readonly string[]): string {
    return cells
      .map((cell) => this.#content(disk, cell))
      .map(({ counter, members }) => `${counter} ${members.join(',') || '-'}`)
      .join(' ');
  }

  /** `write CELL DISK TOKEN BASE MEMBERS ADDED RUN PID` */
  #write(words: readonly string[]): string {
    const [cell, disk = '', token = '', base = '', members = '', added = '', run = '', pid = ''] = words;
    const content = this.#content(disk, cell as Cell);
    const at = boottimeMs();
    const accepted = cell === 'unchecked' || this.#present(disk, token);
    const value = Number(base) + 1;
    const process = this.#names.get(`${run} ${pid}`) ?? `${pid}:0`;
    this.#history.add({
      ...{ kind: 'write', at, run, process, disk, cell: cell as Cell, token },
      ...{ base: Number(base), value, added: Number(added), accepted },
    });
    if (!accepted) return 'stale';
    content.counter = value;
    content.members = [
      ...new Set([...(members === '-' ? [] : members.split(',').map(Number)), Number(added)]),
    ];
    return 'ok';
  }

  /** False: a later one was seen. */
  #present(disk: string, token: string): boolean {
    const revision = BigInt(/:(\d+)$/.exec(token)?.[1] ?? -1);
    const seen = this.#tokens.get(disk) ?? 0n;
    if (revision < seen) return false;
    this.#tokens.set(disk, revision);
    return true;
  }
}

/** A zombie whose other threads still run is (proc_pid_stat(5), num_threads). */
function isAlive({ pid, startTime }: Process): boolean {
  const stat = readProcessStat(pid);
  return stat !== undefined && stat.startTime === startTime && (stat.state !== 'Z' || stat.threads > 1);
}

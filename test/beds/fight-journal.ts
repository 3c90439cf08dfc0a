/**
 * What fighters for disks write down while they hold them, and what follows from it.
 *
 * A holder writes a line after it was granted (`enter`) and one before it gives back (`leave`), each in one write at
 * the end of one file: so if two ever hold one disk at once, the lines say so. A holder that was killed writes no
 * `leave`; whoever comes next shows that it is gone.
 */
import { readFileSync } from 'node:fs';

export interface Held {
  readonly disk: string;
  readonly mode: string;
  readonly pid: number;
  /** The number of its line. */
  readonly line: number;
}

export class FightJournal {
  readonly #path: string;
  #bytes = 0;
  #line = 0;
  /** By disk, by the holder's own word for itself. */
  readonly #held = new Map<string, Map<string, Held>>();
  readonly violations: string[] = [];
  entries = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Takes in what was written since the last time; gives all that is held now. */
  read(): readonly Held[] {
    const text = readFileSync(this.#path, 'utf8');
    const end = text.lastIndexOf('\n') + 1;
    for (const line of text.slice(this.#bytes, end).split('\n')) if (line !== '') this.#take(line);
    // All of it is ASCII.
    this.#bytes = end;
    return [...this.#held.values()].flatMap((holders) => [...holders.values()]);
  }

  #take(text: string): void {
    const [what, id = '', mode = '', ...disks] = text.split(' ');
    this.#line++;
    for (const disk of disks) {
      const holders = this.#held.get(disk) ?? new Map<string, Held>();
      this.#held.set(disk, holders);
      if (what === 'leave') {
        if (!holders.delete(id))
          this.violations.push(`line ${this.#line}: ${text}, but it did not hold ${disk}`);
        continue;
      }
      this.entries++;
      for (const [other, held] of holders) {
        if (held.mode === mode && mode !== 'exclusive') continue;
        if (isAlive(held.pid))
          this.violations.push(`line ${this.#line}: ${text}, but ${other} holds ${disk} ${held.mode}`);
        else holders.delete(other);
      }
      holders.set(id, { disk, mode, pid: Number(id.split(':')[0]), line: this.#line });
    }
  }
}

/** Zombies are not. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !['Z', 'X'].includes(stat.slice(stat.lastIndexOf(')') + 2)[0] ?? 'X');
  } catch {
    return false;
  }
}

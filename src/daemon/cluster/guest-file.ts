/**
 * What each guest has in the cluster, in a file of its own: the next daemon takes it up without looking at any disk, which may
 * be on storage that does not answer. It stands beside the journal and lives as long as the kernel. Fields are added, never
 * changed.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LockRequest } from '../../index.js';
import { bootId } from '../../system/host.js';
import type { LockdOwner } from '../lockd/lock-table.js';

/** By the name of the thing (`thingName`): what is locked for it. */
export type LockedThings = ReadonlyMap<string, readonly LockRequest[]>;

export interface WrittenGuest {
  readonly owner: LockdOwner;
  readonly things: LockedThings;
}

const format = 1;

export class GuestFiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  write(owner: LockdOwner, things: LockedThings): void {
    const path = this.#path(owner);
    const text = JSON.stringify({ format, boot: bootId(), owner, things: [...things] });
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  remove(owner: LockdOwner): void {
    rmSync(this.#path(owner), { force: true });
  }

  /** Of this boot; what cannot be read is none. */
  readAll(): readonly WrittenGuest[] {
    const names = readdirSync(this.#folder).filter((name) => name.endsWith('.json'));
    return names.flatMap((name) => {
      try {
        const said = JSON.parse(readFileSync(join(this.#folder, name), 'utf8')) as Written;
        if (said.format !== format || said.boot !== bootId()) throw new RangeError('of another boot');
        return [{ owner: said.owner, things: new Map(said.things) }];
      } catch {
        rmSync(join(this.#folder, name), { force: true });
        return [];
      }
    });
  }

  #path({ pid, startTime }: LockdOwner): string {
    return join(this.#folder, `${pid}-${startTime}.json`);
  }
}

interface Written {
  readonly format: unknown;
  readonly boot: unknown;
  readonly owner: LockdOwner;
  readonly things: readonly (readonly [string, readonly LockRequest[]])[];
}

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

  /**
   * Those of this boot. What another build has written in a form that this one does not know stays, for one that does, and so does
   * what cannot be read: `notUnderstood` has their names. What was written before this boot of the kernel is removed.
   */
  readAll(): { readonly guests: readonly WrittenGuest[]; readonly notUnderstood: readonly string[] } {
    const guests: WrittenGuest[] = [];
    const notUnderstood: string[] = [];
    for (const name of readdirSync(this.#folder).filter((one) => one.endsWith('.json'))) {
      const path = join(this.#folder, name);
      const said = read(path);
      if (said !== undefined && said.boot !== bootId()) rmSync(path, { force: true });
      else if (said?.format !== format || !isGuest(said)) notUnderstood.push(name);
      else guests.push({ owner: said.owner, things: new Map(said.things) });
    }
    return { guests, notUnderstood };
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

/** Undefined: it has no form that says when it was written. */
function read(path: string): Written | undefined {
  try {
    const said = JSON.parse(readFileSync(path, 'utf8')) as Written;
    return typeof said?.boot === 'string' ? said : undefined;
  } catch {
    return undefined;
  }
}

function isGuest({ owner, things }: Written): boolean {
  return typeof owner?.pid === 'number' && typeof owner.startTime === 'number' && Array.isArray(things);
}

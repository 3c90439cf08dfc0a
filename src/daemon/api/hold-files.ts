/**
 * What is held through the API, one file a hold: for the case that the daemon and its keeper both end, and for what is too
 * large to go through the keeper's channel. They stand in the runtime directory, which lives as long as the kernel, so
 * nothing is synced; each is written whole beside its name, so none is torn.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { privateDirectory } from '../../system/runtime-directory.js';

const namePattern = /^(?<id>[0-9a-f]{12})\.(?<generation>\d{1,12})\.json$/;
const sumHexDigits = 64;

interface FoundFile {
  readonly id: string;
  readonly generation: number;
  readonly name: string;
}

export class HoldFiles {
  readonly #directory: string;
  /** By hold, the oldest first. */
  readonly #names = new Map<string, string[]>();
  readonly #generations = new Map<string, number>();

  constructor(directory: string) {
    this.#directory = privateDirectory(directory);
    for (const { id, generation, name } of this.#found()) this.#add(id, generation, name);
  }

  /** Writes the next version of a hold, beside those before; gives its name. */
  write(id: string, text: string): string {
    const generation = (this.#generations.get(id) ?? 0) + 1;
    const name = `${id}.${generation}.json`;
    const path = join(this.#directory, name);
    writeFileSync(`${path}.new`, checksum(text) + text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
    this.#add(id, generation, name);
    return name;
  }

  /** What a file of that name says; undefined: it is not there, or not whole. */
  read(name: string): string | undefined {
    if (!namePattern.test(name)) return undefined;
    let bytes: string;
    try {
      bytes = readFileSync(join(this.#directory, name), 'utf8');
    } catch {
      return undefined;
    }
    const text = bytes.slice(sumHexDigits);
    return bytes.slice(0, sumHexDigits) === checksum(text) ? text : undefined;
  }

  /** The last whole version of each hold. */
  readAll(): string[] {
    return [...this.#names.values()].flatMap(
      (names) =>
        names
          .toReversed()
          .map((name) => this.read(name))
          .find((text) => text !== undefined) ?? [],
    );
  }

  /** Removes all versions of a hold but one. */
  removeBefore(id: string, kept: string): void {
    for (const name of this.#names.get(id) ?? []) if (name !== kept) this.#unlink(name);
    this.#names.set(id, [kept]);
  }

  remove(id: string): void {
    for (const name of this.#names.get(id) ?? []) this.#unlink(name);
    this.#names.delete(id);
    this.#generations.delete(id);
  }

  /** Those of other holds, and what was not written to its end. */
  removeAllBut(ids: ReadonlySet<string>): void {
    for (const id of [...this.#names.keys()]) if (!ids.has(id)) this.remove(id);
    for (const name of readdirSync(this.#directory)) if (!namePattern.test(name)) this.#unlink(name);
  }

  #add(id: string, generation: number, name: string): void {
    this.#names.set(id, [...(this.#names.get(id) ?? []), name]);
    this.#generations.set(id, generation);
  }

  #unlink(name: string): void {
    rmSync(join(this.#directory, name), { force: true });
  }

  #found(): FoundFile[] {
    const found = readdirSync(this.#directory).flatMap((name) => {
      const { id, generation } = namePattern.exec(name)?.groups ?? {};
      return id === undefined ? [] : [{ id, generation: Number(generation), name }];
    });
    return found.toSorted((a, b) => a.generation - b.generation);
  }
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

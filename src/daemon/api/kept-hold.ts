/** A hold of the API as it is written down: to the keeper with its descriptors, and to a file of its own. */
import { closeSync } from 'node:fs';
import type { LossAction, SavedHold } from '../../index.js';
import { bootId } from '../../system/host.js';
import type { Channel, Kept } from '../keeper/channel.js';
import { recordBytesMax } from '../keeper/keep-message.js';
import type { HoldFiles } from './hold-files.js';

/** Fields are added, never changed. */
export interface WrittenHold {
  readonly v: 1;
  /** Since which start of the kernel the owner's start time counts. */
  readonly boot: string;
  readonly saved: SavedHold;
  readonly witness?: string;
  /** What was asked to become of its owner when it is lost. */
  readonly onLost?: LossAction;
  /** Names of what is just being given back. */
  readonly leaving?: readonly string[];
  /** Nothing of it is locked: its guest is paused. */
  readonly suspended?: true;
  /** Its owner is to be ended before its locks do (`HoldGuard`). */
  readonly guarded?: true;
}

/** What the keeper has, where the hold itself is too large for it. */
interface Reference {
  readonly v: 1;
  readonly file: string;
}

/** Of strings in UTF-8, three bytes for each unit at most. */
const recordLengthMax = Math.floor(recordBytesMax / 3);

/** A hold that was written down, and what is left of its locks. */
export interface FoundHold {
  readonly written: WrittenHold;
  /** In the keeper; undefined: nobody kept its descriptors. */
  readonly kept?: Kept;
}

export class KeptHolds {
  readonly #channel: Channel;
  readonly #files: HoldFiles;
  readonly #ids = new Map<string, number>();
  #lastId = 0;

  constructor(channel: Channel, files: HoldFiles) {
    this.#channel = channel;
    this.#files = files;
  }

  /**
   * What was held before this process: to be called once, before anything else. With the keeper's descriptors, or, where
   * the keeper has nothing, from the files.
   */
  find(unreadable: (record: string) => void): FoundHold[] {
    const found: FoundHold[] = [];
    for (const kept of this.#channel.takeKept()) {
      this.#lastId = Math.max(this.#lastId, kept.id);
      const written = parseWritten(this.#textOf(kept.record));
      if (written === undefined) {
        unreadable(kept.record);
        this.#channel.drop(kept.id);
        for (const fd of kept.descriptors) closeSync(fd);
        continue;
      }
      this.#ids.set(written.saved.id, kept.id);
      found.push({ written, kept });
    }
    if (found.length === 0) {
      for (const text of this.#files.readAll()) {
        const written = parseWritten(text);
        if (written === undefined) unreadable(text);
        else if (written.boot === bootId()) found.push({ written });
      }
    }
    this.#files.removeAllBut(new Set(found.map(({ written }) => written.saved.id)));
    return found;
  }

  /** Everything of a hold, with all its descriptors: what it holds is safe when this returns. */
  keep(hold: Omit<WrittenHold, 'v' | 'boot'>, descriptors: readonly number[]): void {
    const { id } = hold.saved;
    const text = JSON.stringify({ v: 1, boot: bootId(), ...hold } satisfies WrittenHold);
    const name = this.#files.write(id, text);
    const kept = this.#ids.get(id) ?? ++this.#lastId;
    this.#ids.set(id, kept);
    const reference: Reference = { v: 1, file: name };
    this.#channel.keep(kept, text.length <= recordLengthMax ? text : JSON.stringify(reference), descriptors);
    this.#files.removeBefore(id, name);
  }

  drop(id: string): void {
    const kept = this.#ids.get(id);
    if (kept !== undefined) this.#channel.drop(kept);
    this.#ids.delete(id);
    this.#files.remove(id);
  }

  #textOf(record: string): string {
    const { file } = parseObject(record) as Partial<Reference>;
    return file === undefined ? record : (this.#files.read(file) ?? '');
  }
}

/** Undefined: nothing of this form. */
function parseWritten(text: string): WrittenHold | undefined {
  const { v, saved } = parseObject(text) as Partial<WrittenHold>;
  if (v !== 1 || saved?.version !== 1 || typeof saved.id !== 'string') return undefined;
  if (!Array.isArray(saved.grants) || !Array.isArray(saved.plan?.requests)) return undefined;
  return parseObject(text) as WrittenHold;
}

function parseObject(text: string): object {
  try {
    return Object(JSON.parse(text)) as object;
  } catch {
    return {};
  }
}

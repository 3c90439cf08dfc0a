/** What a caller can say about one acquire. */
import type { HoldfastError } from '../errors.js';

/** Someone is in the way, and the caller waits. */
export interface Waiting {
  /** The refusal, with the holders. */
  readonly refusal: HoldfastError;
  readonly waitedMs: number;
}

export interface LockOptions {
  /** How long to wait for what is in use, in milliseconds; true: for ever; default: the configuration's, or not at all. */
  readonly wait?: number | boolean;
  /** Gives up: nothing is held after that. */
  readonly signal?: AbortSignal;
  /** Called about once a second while it waits. */
  readonly onWait?: (waiting: Waiting) => void;
  /** Goes on where no lock can be had, or where something uses the disk without one. The plan's notes say what. */
  readonly allowUnlocked?: boolean;
  /** The command that will hold, for the record and for those who are refused. */
  readonly command?: readonly string[];
}

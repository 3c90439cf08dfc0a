/**
 * The command of a supervisor and all that it has started. Who stands between the two decides how it is looked after:
 * nobody (`own-tree.ts`), or a guard (`guarded-tree.ts`).
 */
export interface CommandTree {
  /** Of the command itself. */
  readonly pid: number;
  /**
   * The status of the command as shells give it. Rejects with `COMMAND_NOT_FOUND` or `COMMAND_NOT_EXECUTABLE` if it could
   * not be started.
   */
  readonly ended: Promise<number>;
  /** To the command itself. */
  signal(signal: NodeJS.Signals): void;
  /** Whether nobody is left of all that it has started. */
  isEmpty(): boolean;
  /** Settles when it is worth asking that again, where that is known. */
  readonly emptied?: Promise<void>;
  /** SIGTERM to all, SIGKILL to those that are left after `graceMs`; returns when nobody is left. */
  stop(graceMs: number): Promise<void>;
  /** Returns when nobody runs any more. Can be called again, for those that somebody let go on. */
  pause(): Promise<void>;
  /** Those go on that `pause` has stopped. */
  resume(): Promise<void>;
  /** It is empty, and nothing of it is needed any longer. */
  leave(): void;
}

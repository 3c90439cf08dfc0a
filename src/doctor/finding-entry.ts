/** What is said of every finding of one kind, wherever it is made. */

export type FindingLevel = 'problem' | 'warning' | 'note' | 'fine';

export interface FindingEntry {
  readonly level: FindingLevel;
  /** What was found, in general. */
  readonly what: string;
  readonly why: string;
  /** Empty: nothing has to be done. */
  readonly remedy: string;
}

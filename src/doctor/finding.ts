/** What the doctor says: a finding, made of what was seen here and of what the table says of its kind. */
import { findings, type FindingId, type FindingLevel } from './finding-table.js';

export type { FindingId, FindingLevel } from './finding-table.js';

export interface Finding {
  /** Stable, kebab-case; docs/doctor.md has them all. */
  readonly id: FindingId;
  /** `problem`: disks can be written twice, or nothing works. `warning`: a gap. `note`: worth knowing. `fine`: as it should be. */
  readonly level: FindingLevel;
  /** What it is about: a path as the user wrote it, a guest, a file. */
  readonly subject?: string;
  /** One sentence without a full stop. */
  readonly what: string;
  /** Why it matters. */
  readonly why: string;
  /** What to do. Missing where there is nothing to do. */
  readonly remedy?: string;
  /** Raw: lines of files, paths, numbers. */
  readonly evidence: readonly string[];
}

export interface Seen {
  readonly subject?: string;
  readonly what: string;
  /** Instead of the table's: what to do in this case. */
  readonly remedy?: string;
  readonly evidence?: readonly string[];
}

export function finding(id: FindingId, { subject, what, remedy, evidence = [] }: Seen): Finding {
  const { level, why, remedy: usual } = findings[id];
  const todo = remedy ?? usual;
  return {
    id,
    level,
    ...(subject === undefined ? {} : { subject }),
    what,
    why,
    ...(todo === '' ? {} : { remedy: todo }),
    evidence,
  };
}

/**
 * The doctor's front door: looks at the host and at the disks that it is asked about, and says what to change.
 *
 * It changes nothing, but for a private file beside each disk, to try locks on, which it removes at once. It starts no
 * program, and asks libvirt nothing: asking would start libvirt's daemons where they are started on demand.
 */
import type { Finding } from './finding.js';

export type { Finding, FindingId, FindingLevel } from './finding.js';

export interface ExamineOptions {
  /** A configuration file instead of the usual ones. */
  readonly configuration?: string;
}

/**
 * Examines this host, and disks on it: images, block devices or directories.
 * @param paths absolute, or relative to the current folder
 * @returns what was found: problems first, then warnings, notes, and what is as it should be. Of several paths those
 *   that lead to no disk are findings (`disk-missing`)
 * @throws HoldfastError for a single path `NO_SUCH_FILE`, `NOT_A_DISK`, `NOT_READABLE` (a folder on the way may not be
 *   searched); `USAGE` for an empty one
 */
export async function examineHost(
  paths: readonly string[] = [],
  options: ExamineOptions = {},
): Promise<readonly Finding[]> {
  // Whoever only locks does not load the checks.
  const { runChecks } = await import('./run-checks.js');
  return runChecks(paths, options);
}

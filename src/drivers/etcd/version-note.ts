/**
 * Versions of etcd with a fault that matters to locks: a leader that was replaced while it was stuck on its disk revoked
 * leases that had been renewed with its successor (etcd issue 15247; its change log: mended in 3.4.31 and 3.5.13).
 */
const mendedIn: Readonly<Record<string, number>> = { '3.4': 31, '3.5': 13 };

/** What to say of a version; undefined: nothing. */
export function versionNote(version: string): string | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version);
  if (match === null) return undefined;
  const [, major, minor, patch] = match.map(Number);
  if (major === undefined || minor === undefined || patch === undefined) return undefined;
  const old = major < 3 || (major === 3 && minor < 4);
  if (old) return `etcd ${version} is older than 3.4, with which this driver has not been tried`;
  const mended = mendedIn[`${major}.${minor}`];
  if (mended === undefined || patch >= mended) return undefined;
  return `etcd ${version} can revoke a lease that was renewed, when its leader is stuck on a slow disk: a guest may be stopped without need (mended in ${major}.${minor}.${mended})`;
}

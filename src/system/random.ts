/** Random names. From the kernel (random(4), "/proc/sys/kernel/random/uuid"): loading node:crypto costs 2 ms of a start. */
import { readFileSync } from 'node:fs';

/** A random uuid, version 4: 36 characters, lower case. */
export function randomUuid(root = '/proc'): string {
  return readFileSync(`${root}/sys/kernel/random/uuid`, 'latin1').trim();
}

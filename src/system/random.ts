/**
 * Random names, from the kernel (urandom(4)): loading node:crypto costs 2 ms of a start. One read serves many names,
 * because a program that locks and releases all day would pay 20 us for each.
 */
import { closeSync, openSync, readSync } from 'node:fs';

const poolBytes = 1024;
const pool = Buffer.alloc(poolBytes);
let used = poolBytes;

/** Bytes as hexadecimal digits; at most 1,024 bytes. */
export function randomHex(bytes: number): string {
  if (used + bytes > poolBytes) fillPool();
  used += bytes;
  return pool.toString('hex', used - bytes, used);
}

function fillPool(): void {
  const fd = openSync('/dev/urandom', 'r');
  try {
    // Reads of up to 256 bytes are never cut short; longer ones only by a signal.
    for (used = 0; used < poolBytes;) used += readSync(fd, pool, used, poolBytes - used, null);
  } finally {
    closeSync(fd);
  }
  used = 0;
}

/** A random uuid, version 4 (RFC 9562): 36 characters, lower case. */
export function randomUuid(): string {
  const hex = randomHex(16);
  const variant = '89ab'[Number.parseInt(hex[16] ?? '0', 16) % 4];
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20),
  ].join('-');
}

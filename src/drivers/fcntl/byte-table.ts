/**
 * Which bytes of an image each mode locks and tests: the one table.
 *
 * Byte 0 is virtlockd's: a write lock for an exclusive holder, read locks for all others. Two programs can
 * tell only two modes apart with one byte, so bytes 2, 3 and 4, always as read locks, say which of the other
 * modes a reader of byte 0 is in. Everyone locks first, then tests, then rolls back: two that start at once
 * may both fail, never both win. Byte 1 is left alone: libvirt write-locks it for the moment in which it changes
 * an image's owner or label (its security_manager.c), and a holder of it would make every such start fail.
 *
 * QEMU's bytes: 100+i "I use permission i", 200+i "I forbid permission i to others", all read locks; i is
 * 0 consistent read, 1 write, 2 write unchanged, 3 resize. To use i, 200+i must be free; to forbid i, 100+i.
 * Seen with QEMU 7.2: a raw writer holds 100, 101, 201; a qcow2 writer 103 and 203 as well; with share-rw 100
 * and 101 only; a reader 100 and 201; a reader with force-share 100 only; a base image 100, 201, 203.
 */
import type { Mode } from '../../vocabulary.js';

/** The byte that tells the modes apart which read-lock byte 0. */
export const modeByte: Readonly<Record<Exclude<Mode, 'exclusive'>, number>> = { shared: 2, read: 3, part: 4 };

export const guardByte = 0;

/**
 * Read-locked by whoever has given an image back only for as long as his guest is paused (sleeping-requests.ts): behind
 * the end of any image, and behind the witnesses of records (left-records.ts).
 */
export const asleepByte = 2 ** 52 + 2 ** 49;

interface QemuBytes {
  /** Permissions used: 200+i is tested, 100+i is what holding takes. */
  readonly use: readonly number[];
  /** Permissions forbidden to others: 100+i is tested, 200+i is what holding takes. */
  readonly forbid: readonly number[];
  /** Whether `hold` takes anything: who uses a part writes there, not here. */
  readonly holds: boolean;
}

/** As QEMU would decide for a qcow2 writer, a raw writer with share-rw, a reader; `part` excludes them all. */
export const qemuBytes: Readonly<Record<Mode, QemuBytes>> = {
  exclusive: { use: [0, 1, 3], forbid: [1, 3], holds: true },
  shared: { use: [0, 1], forbid: [], holds: true },
  read: { use: [0], forbid: [1, 3], holds: true },
  part: { use: [0, 1], forbid: [1, 3], holds: false },
};

/** The range that all of QEMU's bytes lie in: one test of it tells that there is no QEMU at all. */
export const qemuRange = { start: 100, length: 104 } as const;

export function qemuTests(mode: Mode): readonly number[] {
  const { use, forbid } = qemuBytes[mode];
  return [...forbid.map((bit) => 100 + bit), ...use.map((bit) => 200 + bit)];
}

export function qemuHolds(mode: Mode): readonly number[] {
  const { use, forbid, holds } = qemuBytes[mode];
  return holds ? [...use.map((bit) => 100 + bit), ...forbid.map((bit) => 200 + bit)] : [];
}

const permissions = ['read', 'write', 'write unchanged data', 'resize'];

/** What a lock on one of QEMU's bytes says, for people. */
export function qemuByteMeaning(byte: number): string {
  const permission = permissions[byte % 100] ?? 'use';
  return byte < 200 ? `it may ${permission}` : `it forbids others to ${permission}`;
}

/** Which of a test's disks and leases are locked, as the kernel has it, and what a lock daemon has open for it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { LibvirtSystem } from './libvirt-system.js';
import { lockOn } from './observed-lock.js';
import { until } from './until.js';

/** Names of resources with how each is locked; what is free is left out. */
export type Locks = Readonly<Record<string, 'read' | 'write'>>;

/** Where the lock of a disk is: in the disk, or in a file of the lockspace, which libvirt names by the path's SHA-256. */
export function lockFileOf(disk: string, lockspace: string | undefined): string {
  return lockspace === undefined ? disk : join(lockspace, createHash('sha256').update(disk).digest('hex'));
}

export class LockView {
  readonly #files: ReadonlyMap<string, string>;
  readonly #system: LibvirtSystem;

  /** @param files the file with the lock of each resource, as this process reaches it; it need not exist. */
  constructor(system: LibvirtSystem, files: ReadonlyMap<string, string>) {
    this.#system = system;
    this.#files = files;
  }

  now(): Locks {
    const locks: Record<string, 'read' | 'write'> = {};
    for (const [name, file] of this.#files) {
      const lock = existsSync(file) ? lockOn(file) : 'none';
      if (lock !== 'none') locks[name] = lock;
    }
    return locks;
  }

  /**
   * Waits until exactly these are locked, and the lock daemon has just as many locked files open: it learns of the end of a
   * guest when that has ended, which virsh does not wait for. `count`: how many of them are the lock daemon's.
   */
  async become(expected: Locks, count = Object.keys(expected).length): Promise<void> {
    await until(
      () => isSame(this.now(), expected) && this.openLocks().every((open) => open === count),
      () => `${JSON.stringify(expected)}: ${JSON.stringify(this.now())}, open: ${this.openLocks().join()}`,
    );
  }

  /** At once. */
  are(expected: Locks): void {
    assert.deepEqual(this.now(), expected);
  }

  /** How many files each process of the lock daemon has open that are locked through it. */
  openLocks(): number[] {
    const pids = [this.#system.lockPid, this.#system.lockWorkerPid];
    const files = new Set([...this.#files.values()].map(inodeAt));
    return pids.filter((pid) => pid !== undefined && pid > 0).map((pid) => openLocksOf(pid ?? 0, files));
  }
}

/**
 * Those of `files`, and whatever else it has locked: a network file system's locks are not in fdinfo, and a removed file has no
 * name. The daemon's own files, such as virtlockd's pid file, do not count.
 */
function openLocksOf(pid: number, files: ReadonlySet<string | undefined>): number {
  let count = 0;
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    try {
      const file = `/proc/${pid}/fd/${fd}`;
      const path = readlinkSync(file);
      if (!path.startsWith('/') || path.startsWith('/run/')) continue;
      const locked = /^lock:/m.test(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'));
      if (locked || files.has(inodeAt(file))) count++;
    } catch {
      // It was closed meanwhile.
    }
  }
  return count;
}

/** Undefined: there is no such file. */
function inodeAt(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

function isSame(a: Locks, b: Locks): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

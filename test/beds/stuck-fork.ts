/**
 * libvirtd forks while its other threads run, and takes locks of its libraries in the child before that becomes QEMU. One that
 * another thread had at that moment is never given back in the child (pthread_atfork(3), "Rationale"): seen once in some
 * thousand starts on a machine with more to do than processors. Nobody outside can wake such a child.
 */
import { readFileSync, readlinkSync } from 'node:fs';

/** Those among the children of these processes. */
export function stuckForks(parents: readonly number[]): number[] {
  return parents.flatMap(childrenOf).filter(isStuck);
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    return text
      .split(' ')
      .map(Number)
      .filter((child) => child > 0);
  } catch {
    return []; // It has ended.
  }
}

/** A single thread that waits for a lock of its own process has nobody who could give it. */
function isStuck(pid: number): boolean {
  try {
    return (
      readlinkSync(`/proc/${pid}/exe`).endsWith('/libvirtd') &&
      /^Threads:\s+1$/m.test(readFileSync(`/proc/${pid}/status`, 'latin1')) &&
      readFileSync(`/proc/${pid}/wchan`, 'latin1').startsWith('futex')
    );
  } catch {
    return false; // It has ended.
  }
}

/**
 * Joins a lockspace whose place and this host's number in it are known: libvirt's of disks, as libvirt itself does when it starts, and
 * those of the settings.
 *
 * With the I/O timeout T it takes 2T if the host left properly the last time, and until its last life counts as dead if not: 8T and 60 s
 * after that one's last renewal, and some T more.
 */
import { HoldfastError } from '../../errors.js';
import type { AcquireOptions } from '../../driver/contract.js';
import { monotonicMs } from '../../system/clock.js';
import { addLockspace, inquireLockspace, lockspaceState } from './client-library.js';
import type { SanlockLockspace } from './client-structs.js';
import { quoted } from './explain-result.js';
import { SanlockError } from './sanlock-error.js';

const ioTimeoutDefaultS = 10;
const watchdogS = 60;
const pollMs = 100;

/**
 * Returns when it is joined. `ioTimeoutS` 0: the daemon's own.
 * @throws HoldfastError NOT_JOINED, ABORTED
 */
export async function joinLockspace(
  lockspace: SanlockLockspace,
  ioTimeoutS: number,
  label: string,
  { signal, progress }: AcquireOptions,
): Promise<void> {
  const timeoutS = ioTimeoutS === 0 ? ioTimeoutDefaultS : ioTimeoutS;
  const mostS = (8 + 6) * timeoutS + watchdogS;
  await addLockspace(lockspace, ioTimeoutS).catch((error: unknown) => {
    // Somebody else began it, or it is there.
    if (error instanceof SanlockError && ['EEXIST', 'EINPROGRESS'].includes(error.code)) return;
    throw failed(lockspace, label, error);
  });
  const end = monotonicMs() + 2 * mostS * 1000;
  let told = false;
  for (;;) {
    const state = await lockspaceState(lockspace);
    if (state === 'joined') break;
    if (state === 'none') {
      throw failed(lockspace, label, new Error('the daemon gave up; its log says why'));
    }
    if (signal.aborted) {
      throw new HoldfastError('ABORTED', 'the caller gave up while the lockspace was being joined', {
        cause: signal.reason,
      });
    }
    if (monotonicMs() > end) throw failed(lockspace, label, new Error('it takes far longer than it can'));
    if (!told) {
      told = true;
      const what = `joining the lockspace ${lockspace.name} as host ${lockspace.hostId}`;
      progress?.({ what, expectedMs: 2000 * timeoutS, mostMs: 1000 * mostS });
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  await inquireLockspace(lockspace).catch((error: unknown) => {
    throw failed(lockspace, label, error);
  });
}

function failed(
  { name, hostId, path, offset }: SanlockLockspace,
  label: string,
  cause: unknown,
): HoldfastError {
  const code = cause instanceof SanlockError ? cause.code : '';
  const place = quoted(`${name}:${hostId}:${path.replaceAll(':', '\\:')}:${offset}`);
  return new HoldfastError(
    'NOT_JOINED',
    `${label}: the lockspace ${name} in ${path} could not be joined as host ${hostId}`,
    {
      resource: label,
      cause,
      remedy:
        code === 'hostIdBusy' || code === 'EINVAL'
          ? 'Another host uses that number, or this one has joined with another: see host_id in qemu-sanlock.conf, lockspaces in [driver.sanlock], and `sanlock client status`.'
          : `See sanlock's log, and try: sanlock client add_lockspace -s ${place}`,
    },
  );
}

/** What the library or the daemon refuses: an errno, or one of sanlock's own numbers (sanlock_rv.h). */
import { constants } from 'node:os';
import { errorText } from '../../system/libc.js';

/** Those of sanlock's numbers that somebody can do something about. */
export const sanlockResult = {
  /** ELIBSCN, of `inquire`: a path has a blank in it, which its string cannot have. */
  blankInPath: -81,
  aioTimeout: -202,
  watchdogError: -203,
  ballotLost: -213,
  leaderRead: -220,
  leaderWrite: -221,
  leaderDiffers: -222,
  leaderMagic: -223,
  leaderVersion: -224,
  leaderSectorSize: -225,
  leaderLockspace: -226,
  leaderResource: -227,
  leaderChecksum: -229,
  addedInvalidHostId: -231,
  acquireLver: -240,
  acquireLockspace: -241,
  acquireIdDisk: -242,
  acquireIdLive: -243,
  acquireOwned: -244,
  acquireOther: -245,
  acquireSharedRetry: -246,
  acquireOwnedRetry: -247,
  hostIdBusy: -262,
} as const;

export class SanlockError extends Error {
  override readonly name = 'SanlockError';
  /** Of the library, without `sanlock_`. */
  readonly call: string;
  /** Negative: -errno, or one of `sanlockResult`. */
  readonly result: number;
  /** `ENOENT`, or the name of sanlock's own number; its digits if it has none here. */
  readonly code: string;

  constructor(call: string, result: number) {
    const known = Object.entries(sanlockResult).find(([, value]) => value === result)?.[0];
    const errno = Object.entries(constants.errno).find(([, value]) => value === -result)?.[0];
    super(`sanlock_${call}: ${known ?? (result > -200 ? errorText(-result) : 'error')} (${result})`);
    this.call = call;
    this.result = result;
    this.code = known ?? errno ?? String(result);
  }
}

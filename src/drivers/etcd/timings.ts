/**
 * The times of a lease and the relations between them: the only place that knows them.
 *
 * All count from t0, the moment *before* the last confirmed renewal was sent, on a clock that counts suspend:
 *
 *     t0        renewDeadline          + grace                   ttl - margin          ttl
 *     |---------------|-------------------|---------------------------|-----------------|
 *     renewed         lost: told to stop  killed                      nothing runs      etcd may give it to others
 *
 * etcd counts the TTL from when it handled the renewal, which is never before t0. So what ends before t0 + ttl ends before
 * anybody else can have it, as long as the two clocks run at about the same rate: that is what the margin is for, and for the
 * time that the kernel needs to end a killed process.
 */
import { HoldfastError } from '../../errors.js';
import type { GuaranteeTimes } from '../../driver/contract.js';

/** Milliseconds. */
export interface Timings {
  /** What etcd is asked for: whole seconds. */
  readonly ttlMs: number;
  /** From the start of one renewal to the start of the next. */
  readonly renewIntervalMs: number;
  /** How long after t0 a hold counts as lost. */
  readonly renewDeadlineMs: number;
  /** From being told to stop until being killed. */
  readonly graceMs: number;
  /** What stays of the TTL when nothing may run any more. */
  readonly marginMs: number;
}

/** Ten seconds: a lock of a dead host is free that long after, and an election of etcd (1 to 3 s) still costs nobody a lock. */
const ttlDefaultMs = 10_000;
/** etcd makes it at least that with its default election timeout: 1.5 times that, in whole seconds. */
const ttlMinMs = 2_000;
/** Longer, and a crash keeps a disk locked for a time that no operator waits for. */
const ttlMaxMs = 600_000;
/** A renewal may fail and be tried again, and once more, before the deadline. */
const roundsInDeadline = 3;
/** What the rates of two clocks may differ by: the kernel allows a clock to be slewed by 0.05 %, and a bad quartz is worse. */
const rateDifferenceMax = 0.01;

/** The setting of `[driver.etcd]` for each of them. */
const settingOf: Readonly<Record<keyof Timings, string>> = {
  ttlMs: 'ttl',
  renewIntervalMs: 'renew_interval',
  renewDeadlineMs: 'renew_deadline',
  graceMs: 'kill_grace',
  marginMs: 'margin',
};

/**
 * The times as given, and in proportion to the TTL where nothing is given: a tenth for the interval and for the margin,
 * six tenths for the deadline, a quarter for the grace. Throws `CONFIG` with the relation that does not hold.
 */
export function timingsFrom(given: {
  readonly [Name in keyof Timings]?: Timings[Name] | undefined;
}): Timings {
  const ttlMs = given.ttlMs ?? ttlDefaultMs;
  const timings: Timings = {
    ttlMs,
    renewIntervalMs: given.renewIntervalMs ?? ttlMs / 10,
    renewDeadlineMs: given.renewDeadlineMs ?? ttlMs * 0.6,
    graceMs: given.graceMs ?? ttlMs / 4,
    marginMs: given.marginMs ?? ttlMs / 10,
  };
  checkTimings(timings);
  return timings;
}

/** Throws `CONFIG` with the relation that does not hold, and the numbers. */
export function checkTimings(timings: Timings): void {
  const { ttlMs, renewIntervalMs, renewDeadlineMs, graceMs, marginMs } = timings;
  for (const [name, setting] of Object.entries(settingOf) as [keyof Timings, string][]) {
    if (!(timings[name] > 0) || !Number.isFinite(timings[name])) {
      throw broken(setting, `${setting} is ${seconds(timings[name])}: it has to be more than nothing`);
    }
  }
  if (ttlMs % 1000 !== 0) {
    throw broken('ttl', `ttl is ${seconds(ttlMs)}: etcd counts in whole seconds`);
  }
  if (ttlMs < ttlMinMs || ttlMs > ttlMaxMs) {
    throw broken(
      'ttl',
      `ttl is ${seconds(ttlMs)}: it has to be from ${seconds(ttlMinMs)} to ${seconds(ttlMaxMs)}`,
    );
  }
  const neededMs = renewDeadlineMs + graceMs + marginMs;
  if (!(ttlMs > neededMs)) {
    throw broken(
      'ttl',
      `ttl (${seconds(ttlMs)}) has to be more than renew_deadline (${seconds(renewDeadlineMs)}) + kill_grace ` +
        `(${seconds(graceMs)}) + margin (${seconds(marginMs)}) = ${seconds(neededMs)}: otherwise etcd could give a lock to ` +
        'somebody else while the command that had it still runs',
    );
  }
  if (renewIntervalMs * roundsInDeadline > renewDeadlineMs) {
    throw broken(
      'renew_interval',
      `renew_interval (${seconds(renewIntervalMs)}) may be at most a third of renew_deadline ` +
        `(${seconds(renewDeadlineMs)}): otherwise one renewal that comes late would already lose the locks`,
    );
  }
  if (marginMs < ttlMs * rateDifferenceMax) {
    throw broken(
      'margin',
      `margin (${seconds(marginMs)}) has to be at least a hundredth of ttl (${seconds(ttlMs)}): the clocks of two hosts do ` +
        'not run at quite the same rate',
    );
  }
}

/** Until when a grant is certain whose last confirmed renewal was sent at `confirmedAtMs` (CLOCK_BOOTTIME). */
export function guaranteeFrom(confirmedAtMs: number, timings: Timings): GuaranteeTimes {
  const loseAtMs = confirmedAtMs + timings.renewDeadlineMs;
  return {
    loseAtMs,
    killAtMs: loseAtMs + timings.graceMs,
    endMs: confirmedAtMs + timings.ttlMs - timings.marginMs,
  };
}

function broken(setting: string, message: string): HoldfastError {
  return new HoldfastError('CONFIG', message, {
    setting,
    remedy: 'Leave out all but ttl: the others then follow from it. Or change one of those named.',
  });
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

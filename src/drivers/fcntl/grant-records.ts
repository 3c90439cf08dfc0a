/**
 * Records on files that hosts share, for the grants of a driver: left with the locks, gone with them, and asked when
 * somebody else is in the way. Nothing of it is loaded where no such file is locked.
 */
import { HoldfastError, isHoldfastError } from '../../errors.js';
import type { Holder, LockRequest, Owner } from '../../vocabulary.js';
import type { LeftRecord } from './holder-records.js';
import { isShared, type LockTarget } from './lock-targets.js';
import { giveBack, type TakenRequest } from './take-request.js';

export class GrantRecords {
  readonly #leave: boolean;
  readonly #targetsOf: (request: LockRequest) => readonly LockTarget[];
  readonly #left = new WeakMap<TakenRequest, readonly LeftRecord[]>();

  /** @param leave false: those of others are read, and none is left. */
  constructor(leave: boolean, targetsOf: (request: LockRequest) => readonly LockTarget[]) {
    this.#leave = leave;
    this.#targetsOf = targetsOf;
  }

  /** Whether a holder of it may have left a record. */
  standOn(request: LockRequest): boolean {
    return this.#targetsOf(request).some((target) => isShared(request.resource, target));
  }

  /** For locks that were all taken; if it fails they are given back. */
  async leave(taken: readonly TakenRequest[], owner: Owner): Promise<void> {
    const known = taken.filter(({ shared }) => shared.length > 0);
    if (known.length === 0 || !this.#leave) return;
    try {
      const { leaveRecords } = await import('./holder-records.js');
      for (const one of known) this.#left.set(one, leaveRecords(one, owner));
    } catch (error) {
      await this.giveBack(taken);
      throw error;
    }
  }

  /** Gives locks back. Records go after them: whoever inherited those is still who they tell of. */
  async giveBack(taken: readonly TakenRequest[]): Promise<void> {
    giveBack(taken);
    const records = taken.flatMap((one) => this.#left.get(one) ?? []);
    const adopted = this.#leave
      ? taken.filter((one) => one.unlock && one.shared.length > 0 && !this.#left.has(one))
      : [];
    if (records.length + adopted.length === 0) return;
    const { removeDead, takeBackRecords } = await import('./holder-records.js');
    await takeBackRecords(records);
    // What was left before a restart is known by its witness, which went with the locks.
    for (const { request } of adopted) removeDead(request.resource, this.#targetsOf(request));
  }

  /** A refusal with those named who left a record of themselves. */
  async named(error: unknown, requests: readonly LockRequest[]): Promise<unknown> {
    if (!isHoldfastError(error, 'IN_USE')) return error;
    const request = requests.find(({ resource }) => resource.label === error.resource);
    if (request === undefined || !this.standOn(request)) return error;
    const { resource, mode } = request;
    const holders = await this.inTheWay(request, error.holders);
    return new HoldfastError('IN_USE', error.message, { resource: resource.label, mode, holders });
  }

  /** Those in the way of a request who left a record; nobody did: the others. */
  async inTheWay(request: LockRequest, otherwise: readonly Holder[]): Promise<readonly Holder[]> {
    if (!this.standOn(request)) return otherwise;
    const { recordedInTheWay } = await import('./holder-records.js');
    const recorded = recordedInTheWay(request, this.#targetsOf(request));
    return recorded.length === 0 ? otherwise : recorded;
  }
}

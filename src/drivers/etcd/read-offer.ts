/** What stands in the key of a handover that was offered. */
import type { LockRequest } from '../../vocabulary.js';
import type { KeyValue } from './client/messages.js';

/** The value of an offer's key: what the giver has. */
export interface OfferRecord {
  readonly format: 1;
  readonly hostId: string;
  readonly locks: readonly OfferedLock[];
  /** By its receiver, under whose lease it is from then on. */
  readonly accepted?: true;
}

export interface OfferedLock {
  readonly request: LockRequest;
  readonly identity: string;
  readonly key: string;
  readonly revision: number;
}

/** What an offer's key says; undefined: it is not there. */
export function readOffer(kv: KeyValue | undefined): OfferRecord | undefined {
  return kv === undefined ? undefined : (JSON.parse(kv.value.toString('utf8')) as OfferRecord);
}

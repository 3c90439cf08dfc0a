/**
 * The messages of etcd's API version 3 that are used, with the numbers of their fields (etcd 3.4,
 * etcdserver/etcdserverpb/rpc.proto, mvcc/mvccpb/kv.proto). Fields that are not needed are left out: a reader skips them.
 */
import { MessageType, type Field, type Kind } from './wire.js';

const field = (number: number, kind: Kind): Field => ({ number, kind });
const list = (number: number, kind: Kind): Field => ({ number, kind, repeated: true });

export interface Header {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly revision: number;
  readonly raftTerm: number;
}
const header = new MessageType<Header>({
  clusterId: field(1, 'id'),
  memberId: field(2, 'id'),
  revision: field(3, 'number'),
  raftTerm: field(4, 'number'),
});

export interface KeyValue {
  readonly key: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly value: Buffer;
  /** 0: none. */
  readonly lease: bigint;
}
const keyValue = new MessageType<KeyValue>({
  key: field(1, 'bytes'),
  createRevision: field(2, 'number'),
  modRevision: field(3, 'number'),
  version: field(4, 'number'),
  value: field(5, 'bytes'),
  lease: field(6, 'id'),
});

export interface RangeRequest {
  readonly key: string;
  /** First key that is not in the range; missing: only `key`. */
  readonly rangeEnd?: string;
  readonly limit?: number;
  /** Read what there was then. */
  readonly revision?: number;
  /** Read what this member has, which may be old. */
  readonly serializable?: boolean;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
}
export const rangeRequest = new MessageType<RangeRequest>({
  key: field(1, 'bytes'),
  rangeEnd: field(2, 'bytes'),
  limit: field(3, 'number'),
  revision: field(4, 'number'),
  serializable: field(7, 'bool'),
  keysOnly: field(8, 'bool'),
  countOnly: field(9, 'bool'),
});

export interface RangeResponse {
  /** Missing inside a transaction. */
  readonly header?: Header;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
  readonly count: number;
}
export const rangeResponse = new MessageType<RangeResponse>({
  header: field(1, header),
  kvs: list(2, keyValue),
  more: field(3, 'bool'),
  count: field(4, 'number'),
});

export interface PutRequest {
  readonly key: string;
  readonly value: string;
  readonly lease?: bigint;
}
export const putRequest = new MessageType<PutRequest>({
  key: field(1, 'bytes'),
  value: field(2, 'bytes'),
  lease: field(3, 'id'),
});

export interface HeaderOnly {
  readonly header?: Header;
}
export const headerOnly = new MessageType<HeaderOnly>({ header: field(1, header) });

export interface DeleteRequest {
  readonly key: string;
  readonly rangeEnd?: string;
}
const deleteRequest = new MessageType<DeleteRequest>({ key: field(1, 'bytes'), rangeEnd: field(2, 'bytes') });

export interface DeleteResponse {
  readonly deleted: number;
}
const deleteResponse = new MessageType<DeleteResponse>({ deleted: field(2, 'number') });

/** One of the three. */
export interface Operation {
  readonly range?: RangeRequest;
  readonly put?: PutRequest;
  readonly delete?: DeleteRequest;
}
const operation = new MessageType<Operation>({
  range: field(1, rangeRequest),
  put: field(2, putRequest),
  delete: field(3, deleteRequest),
});

export interface OperationResponse {
  readonly range?: RangeResponse;
  readonly put?: HeaderOnly;
  readonly delete?: DeleteResponse;
}
const operationResponse = new MessageType<OperationResponse>({
  range: field(1, rangeResponse),
  put: field(2, headerOnly),
  delete: field(3, deleteResponse),
});

export const compareResult = { equal: 0, greater: 1, less: 2, notEqual: 3 } as const;
export const compareTarget = { version: 0, create: 1, mod: 2, value: 3, lease: 4 } as const;

/** Holds if every key of the range satisfies it; of an empty range everything is 0. */
export interface Compare {
  readonly result: (typeof compareResult)[keyof typeof compareResult];
  readonly target: (typeof compareTarget)[keyof typeof compareTarget];
  readonly key: string;
  readonly version?: number;
  readonly createRevision?: number;
  readonly modRevision?: number;
  readonly lease?: bigint;
  readonly rangeEnd?: string;
}
const compare = new MessageType<Compare>({
  result: field(1, 'number'),
  target: field(2, 'number'),
  key: field(3, 'bytes'),
  version: field(4, 'number'),
  createRevision: field(5, 'number'),
  modRevision: field(6, 'number'),
  lease: field(8, 'id'),
  rangeEnd: field(64, 'bytes'),
});

export interface TxnRequest {
  readonly compare: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure: readonly Operation[];
}
export const txnRequest = new MessageType<TxnRequest>({
  compare: list(1, compare),
  success: list(2, operation),
  failure: list(3, operation),
});

export interface TxnResponse {
  readonly header?: Header;
  readonly succeeded: boolean;
  readonly responses: readonly OperationResponse[];
}
export const txnResponse = new MessageType<TxnResponse>({
  header: field(1, header),
  succeeded: field(2, 'bool'),
  responses: list(3, operationResponse),
});

export interface LeaseRequest {
  readonly id: bigint;
}
export const leaseRequest = new MessageType<LeaseRequest>({ id: field(1, 'id') });

export interface LeaseGrantRequest {
  /** Seconds. */
  readonly ttl: number;
}
export const leaseGrantRequest = new MessageType<LeaseGrantRequest>({ ttl: field(1, 'number') });

export interface LeaseResponse {
  readonly header?: Header;
  readonly id: bigint;
  /** Seconds; 0 or less: the lease is gone. */
  readonly ttl: number;
}
/** What granting, keeping alive and asking for the time to live answer. */
export const leaseResponse = new MessageType<LeaseResponse>({
  header: field(1, header),
  id: field(2, 'id'),
  ttl: field(3, 'number'),
});

export interface WatchCreate {
  readonly key: string;
  readonly rangeEnd?: string;
  readonly startRevision: number;
  readonly watchId: number;
}
const watchCreate = new MessageType<WatchCreate>({
  key: field(1, 'bytes'),
  rangeEnd: field(2, 'bytes'),
  startRevision: field(3, 'number'),
  watchId: field(7, 'number'),
});
const watchCancel = new MessageType<{ readonly watchId: number }>({ watchId: field(1, 'number') });

/** One of the two. */
export interface WatchRequest {
  readonly create?: WatchCreate;
  readonly cancel?: { readonly watchId: number };
}
export const watchRequest = new MessageType<WatchRequest>({
  create: field(1, watchCreate),
  cancel: field(2, watchCancel),
});

export interface WatchEvent {
  /** 0: put, 1: deleted. */
  readonly type: number;
  /** Of a deletion: only the key, and the revision of the deletion as `modRevision`. */
  readonly kv?: KeyValue;
}
const watchEvent = new MessageType<WatchEvent>({ type: field(1, 'number'), kv: field(2, keyValue) });

export interface WatchResponse {
  readonly header?: Header;
  readonly watchId: number;
  readonly created: boolean;
  readonly canceled: boolean;
  /** Not 0: the watch wanted revisions that are compacted; from here on there are some. */
  readonly compactRevision: number;
  readonly cancelReason: string;
  readonly events: readonly WatchEvent[];
}
export const watchResponse = new MessageType<WatchResponse>({
  header: field(1, header),
  watchId: field(2, 'number'),
  created: field(3, 'bool'),
  canceled: field(4, 'bool'),
  compactRevision: field(5, 'number'),
  cancelReason: field(6, 'string'),
  events: list(11, watchEvent),
});

export interface StatusResponse {
  readonly header?: Header;
  /** `3.4.23`. */
  readonly version: string;
  /** 0: this member knows of no leader. */
  readonly leader: bigint;
  /** What is wrong with it, alarms among it (`memberID:1 alarm:NOSPACE`). */
  readonly errors: readonly string[];
}
export const statusResponse = new MessageType<StatusResponse>({
  header: field(1, header),
  version: field(2, 'string'),
  leader: field(4, 'id'),
  errors: list(8, 'string'),
});

export interface AuthenticateRequest {
  readonly name: string;
  readonly password: string;
}
export const authenticateRequest = new MessageType<AuthenticateRequest>({
  name: field(1, 'string'),
  password: field(2, 'string'),
});

export interface AuthenticateResponse {
  readonly token: string;
}
export const authenticateResponse = new MessageType<AuthenticateResponse>({ token: field(2, 'string') });

/** A request without fields. */
export const empty = new MessageType<object>({});

/** What went wrong in a call to etcd: first as a fact (did it happen?), then as an error for people. */
import { causeText, HoldfastError } from '../../../errors.js';
import type { ErrorCode } from '../../../vocabulary.js';

/** The status codes of gRPC that are looked at (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
export const grpcStatus = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/**
 * Of a request that was sent and not answered nobody knows whether it was done, or will be.
 * - `not sent`: it never left.
 * - `refused`: the server says that it did not do it.
 * - `unknown`: it may have been done, and may still be.
 */
export type Outcome = 'not sent' | 'refused' | 'unknown';

export class EtcdFailure extends Error {
  override readonly name = 'EtcdFailure';
  readonly outcome: Outcome;
  /** gRPC's. */
  readonly status: number;
  readonly endpoint: string;

  constructor(outcome: Outcome, status: number, endpoint: string, message: string) {
    super(message);
    this.outcome = outcome;
    this.status = status;
    this.endpoint = endpoint;
  }

  /** Whether another server may do better. */
  get worthAnotherServer(): boolean {
    return this.outcome !== 'refused';
  }

  /** The session's lease is over: its keys are gone, and cannot be written. */
  get leaseGone(): boolean {
    return this.status === grpcStatus.notFound && this.message.includes('lease not found');
  }

  get tokenRejected(): boolean {
    return (
      this.status === grpcStatus.unauthenticated ||
      this.message.includes('invalid auth token') ||
      this.message.includes('revision of auth store is old')
    );
  }
}

const { unavailable, deadlineExceeded, cancelled, unknown, internal, dataLoss } = grpcStatus;
/** With these the server, or what is before it, does not say what became of the request. */
const saysNothing: readonly number[] = [
  unavailable,
  deadlineExceeded,
  cancelled,
  unknown,
  internal,
  dataLoss,
];

/** What gRPC reports of a call that ended badly. `details` is its text. */
export function etcdFailure(status: number, details: string, endpoint: string): EtcdFailure {
  const neverConnected =
    (status === unavailable && /No connection established|Name resolution failed/.test(details)) ||
    // In gRPC's own words here, which name the address once there is a connection; a server that ends a call has others.
    (status === deadlineExceeded &&
      details.startsWith('Deadline exceeded after') &&
      !details.includes('remote_addr='));
  const outcome = neverConnected ? 'not sent' : saysNothing.includes(status) ? 'unknown' : 'refused';
  return new EtcdFailure(outcome, status, endpoint, details);
}

const tlsWords =
  /certificate|CERT_|self[- ]signed|SSL|TLS|wrong version number|EPROTO|unable to (?:verify|get)|alert/i;

function codeOf({ status, message, outcome }: EtcdFailure): ErrorCode {
  if (message.includes('database space exceeded') || /no space left on device/i.test(message)) {
    return 'CLUSTER_NO_SPACE';
  }
  if (/request is too large|too many operations|larger than max/.test(message)) return 'CLUSTER_LIMIT';
  if (message.includes('compacted')) return 'CLUSTER_COMPACTED';
  if (
    status === grpcStatus.permissionDenied ||
    status === grpcStatus.unauthenticated ||
    /authentication|user name|auth token|permission denied|auth store/.test(message)
  ) {
    return 'CLUSTER_AUTH';
  }
  if (status === unavailable && tlsWords.test(message)) return 'CLUSTER_TLS';
  // Of its own time limit, which is the one of the call, etcd may tell as well: before the call itself ends.
  if (
    /no leader|leader changed|request timed out|context deadline exceeded|etcdserver: unhealthy/.test(message)
  ) {
    return 'CLUSTER_NO_QUORUM';
  }
  if (outcome === 'not sent') return 'CLUSTER_UNREACHABLE';
  // It is connected and does not answer: that is how a member looks which waits for a majority.
  if (status === deadlineExceeded) return 'CLUSTER_NO_QUORUM';
  // The connection ended under the call (of a server that is killed, gRPC also says `internal`).
  return outcome === 'unknown' && status !== unknown ? 'CLUSTER_UNREACHABLE' : 'DRIVER_FAILED';
}

const whatHappened: Partial<Record<ErrorCode, string>> = {
  CLUSTER_UNREACHABLE: 'etcd cannot be reached',
  CLUSTER_NO_QUORUM: 'etcd is reached, but decides nothing',
  CLUSTER_NO_SPACE: 'etcd has no space left, and writes nothing',
  CLUSTER_AUTH: 'etcd does not let this user in, or not do this',
  CLUSTER_TLS: 'no encrypted connection to etcd could be made',
  CLUSTER_LIMIT: 'it is more than etcd takes in one transaction',
  CLUSTER_COMPACTED: 'etcd has forgotten the revisions that had to be looked at',
};

/** gRPC's own words around those of the system are left out. */
function plainly(text: string): string {
  return text.replace(
    /^No connection established\. Last error: (?:Error: )?(.*)\. Resolution note: .*$/s,
    '$1',
  );
}

/** Anything thrown below, as an error of this project. `doing`: `the locks could not be taken`. */
export function asClusterError(error: unknown, doing: string): unknown {
  if (!(error instanceof EtcdFailure)) return error;
  const code = codeOf(error);
  const what = whatHappened[code] ?? 'etcd failed';
  return new HoldfastError(code, `${doing}: ${what} (${error.endpoint}: ${plainly(causeText(error))})`, {
    cause: error,
  });
}

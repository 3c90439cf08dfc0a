/** Whatever goes wrong, as one of our errors, and the HTTP status that goes with its code. */
import type { FastifyError } from 'fastify';
import { causeText, HoldfastError, isHoldfastError } from '../../errors.js';
import type { ErrorCode } from '../../vocabulary.js';

const badRequest = 400;
const forbidden = 403;
const notFound = 404;
const conflict = 409;
const gone = 410;
const failed = 500;
const unsupported = 501;
const unavailable = 503;

const statuses: Readonly<Partial<Record<ErrorCode, number>>> = {
  NO_SUCH_FILE: notFound,
  NO_SUCH_DOMAIN: notFound,
  NO_SUCH_HOLD: notFound,
  NOT_READABLE: forbidden,
  NOT_PERMITTED: forbidden,
  DRIVER_UNSAFE: forbidden,
  IN_USE: conflict,
  MOVED: conflict,
  TIMEOUT: conflict,
  ABORTED: conflict,
  LOST: conflict,
  ENDED: gone,
  UNSUPPORTED: unsupported,
  LIBVIRT_UNREACHABLE: unavailable,
  CLUSTER_UNREACHABLE: unavailable,
  CLUSTER_NO_QUORUM: unavailable,
  CLUSTER_NO_SPACE: unavailable,
  CLUSTER_AUTH: unavailable,
  CLUSTER_TLS: unavailable,
  CLUSTER_LIMIT: unavailable,
  CLUSTER_COMPACTED: unavailable,
  DRIVER_FAILED: unavailable,
  DRIVER_BROKEN: unavailable,
  DRIVER_UNKNOWN: unavailable,
  NO_RECORD: unavailable,
  CONFIG: failed,
  INTERNAL: failed,
};

/** All other codes are of bad input. */
export function httpStatus(code: ErrorCode): number {
  return statuses[code] ?? badRequest;
}

export interface ApiFailure {
  readonly status: number;
  readonly error: HoldfastError;
}

/** What a handler threw, or fastify itself: a body that is no JSON, too large, or not as the schema says. */
export function apiFailure(thrown: unknown): ApiFailure {
  if (isHoldfastError(thrown)) return { status: httpStatus(thrown.code), error: thrown };
  const { statusCode, validation } = (thrown ?? {}) as Partial<FastifyError>;
  if (validation !== undefined) {
    const error = new HoldfastError('BAD_DATA', causeText(thrown), {
      remedy: 'GET /openapi.json says what is taken.',
    });
    return { status: badRequest, error };
  }
  if (statusCode !== undefined && statusCode >= badRequest && statusCode < failed) {
    return {
      status: statusCode,
      error: new HoldfastError('USAGE', causeText(thrown), { remedy: 'See docs/api.md.' }),
    };
  }
  return {
    status: failed,
    error: new HoldfastError('INTERNAL', causeText(thrown), thrown === undefined ? {} : { cause: thrown }),
  };
}

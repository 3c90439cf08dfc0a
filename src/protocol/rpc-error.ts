/** The error that libvirt's RPC sends in place of a reply's payload (virnetprotocol.x: virNetMessageError). */
import { XdrReader, XdrWriter } from './xdr.js';

/** The codes that the lock program answers with (libvirt/virterror.h: virErrorNumber). */
export const rpcErrorCode = {
  internal: 1,
  invalidArgument: 8,
  operationDenied: 29,
  system: 38,
  rpc: 39,
  operationInvalid: 55,
  configUnsupported: 67,
  resourceBusy: 87,
} as const;

/** Which part of libvirt speaks (virErrorDomain). */
export const rpcErrorDomain = { rpc: 7, locking: 42, lockspace: 51 } as const;

/** virErrorLevel. */
export const rpcErrorLevel = { none: 0, warning: 1, error: 2 } as const;

export interface RpcError {
  readonly code: number;
  readonly domain: number;
  readonly message?: string;
  readonly level: number;
  readonly guest?: { readonly name: string; readonly uuid: Buffer; readonly id: number };
  readonly str1?: string;
  readonly str2?: string;
  readonly str3?: string;
  /** Of `system`: the errno. */
  readonly int1: number;
  readonly int2: number;
  readonly network?: { readonly name: string; readonly uuid: Buffer };
}

/** virnetprotocol.x: VIR_NET_MESSAGE_STRING_MAX. */
const stringBytesMaxOfLibvirt = 4 * 1024 * 1024;
/** What libvirt cuts its own messages to (virerror.c: VIR_ERROR_MAX_LENGTH): nobody sends more. */
export const errorStringBytesMax = 1024;
const uuidBytes = 16;
/** Four strings and two names, each with length and padding, two uuids, and the words. */
export const errorPayloadBytesMax = 6 * (8 + errorStringBytesMax) + 2 * uuidBytes + 12 * 4;

/** Strings are cut to what libvirt itself would send. */
export function encodeRpcError(error: RpcError): Buffer {
  const writer = new XdrWriter(errorPayloadBytesMax);
  const text = (value: string | undefined): void =>
    void writer.optional(value, (given) => writer.string(cut(given), errorStringBytesMax));
  writer.int(error.code).int(error.domain);
  text(error.message);
  writer.int(error.level);
  writer.optional(error.guest, ({ name, uuid, id }) => {
    writer.string(cut(name), errorStringBytesMax).opaqueFixed(uuid, uuidBytes).int(id);
  });
  text(error.str1);
  text(error.str2);
  text(error.str3);
  writer.int(error.int1).int(error.int2);
  writer.optional(error.network, ({ name, uuid }) => {
    writer.string(cut(name), errorStringBytesMax).opaqueFixed(uuid, uuidBytes);
  });
  return writer.finish();
}

/** @throws ProtocolError */
export function decodeRpcError(payload: Buffer): RpcError {
  const reader = new XdrReader(payload);
  const string = (what: string): string => reader.string(stringBytesMaxOfLibvirt, what);
  const text = (what: string): string | undefined => reader.optional(() => string(what), what);
  const code = reader.int('the code of an error');
  const domain = reader.int('the domain of an error');
  const message = text('the message of an error');
  const level = reader.int('the level of an error');
  const guest = reader.optional(() => ({
    name: string("a guest's name"),
    uuid: reader.opaqueFixed(uuidBytes),
    id: reader.int(),
  }));
  const str1 = text('str1 of an error');
  const str2 = text('str2 of an error');
  const str3 = text('str3 of an error');
  const int1 = reader.int('int1 of an error');
  const int2 = reader.int('int2 of an error');
  const network = reader.optional(() => ({
    name: string("a network's name"),
    uuid: reader.opaqueFixed(uuidBytes),
  }));
  return {
    code,
    domain,
    level,
    int1,
    int2,
    ...(message === undefined ? {} : { message }),
    ...(guest === undefined ? {} : { guest }),
    ...(str1 === undefined ? {} : { str1 }),
    ...(str2 === undefined ? {} : { str2 }),
    ...(str3 === undefined ? {} : { str3 }),
    ...(network === undefined ? {} : { network }),
  };
}

/** A zero byte, which would end the text for who reads it, and halves of surrogate pairs, which have no UTF-8. */
const notSendable = /[\0\uD800-\uDFFF]/gu;

/** To the limit, and not through the middle of a character. */
function cut(text: string): string {
  const clean = text.replaceAll(notSendable, '\uFFFD');
  const bytes = Buffer.from(clean);
  if (bytes.length <= errorStringBytesMax) return clean;
  let end = errorStringBytesMax;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}

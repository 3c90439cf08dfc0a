/**
 * The program that libvirt's `lockd` plugin and virtlockd speak: eight procedures, every reply empty or an error
 * (libvirt's lock_protocol.x).
 */
import { ProtocolError } from './protocol-error.js';
import { encodeFrame, frameBytesMin, rpcStatus, rpcType, type RpcFrame } from './rpc-frame.js';
import { encodeRpcError, type RpcError } from './rpc-error.js';
import { XdrReader, XdrWriter } from './xdr.js';

export const lockProgram = 0xea7beef;
export const lockVersion = 1;

export const lockProcedure = {
  register: 1,
  restrict: 2,
  newLockspace: 3,
  createResource: 4,
  deleteResource: 5,
  acquire: 6,
  release: 7,
  createLockspace: 8,
} as const;

/** The flags of `acquire`. */
export const acquireFlag = { shared: 1, autocreate: 2 } as const;

/** lock_protocol.x: VIR_LOCK_SPACE_PROTOCOL_STRING_MAX. */
export const lockStringBytesMax = 65_536;
const uuidBytes = 16;
const argumentBytesMax = 2 * (4 + lockStringBytesMax) + 4;
/** The largest frame that a call of this program can have; libvirt's own limit is 256 times as much. */
export const lockFrameBytesMax = frameBytesMin + argumentBytesMax;

/** Who locks, as the program names it. */
export interface LockOwner {
  /** 16 bytes. */
  readonly uuid: Buffer;
  readonly name: string;
  /** libvirt's number of a running domain. */
  readonly id: number;
  /** What holds: virtlockd releases what this pid has when a connection of this very process closes. */
  readonly pid: number;
}

/** A resource is a name in a lockspace; lockspace '' locks the file itself, and the name is its path. */
interface ResourceArguments {
  readonly path: string;
  readonly name: string;
  readonly flags: number;
}

export type LockCall =
  | { readonly call: 'register'; readonly owner: LockOwner; readonly flags: number }
  | { readonly call: 'restrict'; readonly flags: number }
  | { readonly call: 'newLockspace'; readonly path: string; readonly flags: number }
  | ({ readonly call: 'createResource' } & ResourceArguments)
  | ({ readonly call: 'deleteResource' } & ResourceArguments)
  | ({ readonly call: 'acquire' } & ResourceArguments)
  | ({ readonly call: 'release' } & ResourceArguments)
  | { readonly call: 'createLockspace'; readonly path: string };

/** The frame of a call. @throws ProtocolError if a value does not fit. */
export function encodeLockCall(call: LockCall, serial: number): Buffer {
  const writer = new XdrWriter(argumentBytesMax);
  switch (call.call) {
    case 'register':
      writer
        .opaqueFixed(call.owner.uuid, uuidBytes)
        .string(call.owner.name, lockStringBytesMax)
        .unsigned(call.owner.id)
        .unsigned(call.owner.pid)
        .unsigned(call.flags);
      break;
    case 'restrict':
      writer.unsigned(call.flags);
      break;
    case 'newLockspace':
      writer.string(call.path, lockStringBytesMax).unsigned(call.flags);
      break;
    case 'createLockspace':
      writer.string(call.path, lockStringBytesMax);
      break;
    default:
      writer.string(call.path, lockStringBytesMax).string(call.name, lockStringBytesMax).unsigned(call.flags);
  }
  return lockFrame(lockProcedure[call.call], rpcType.call, serial, rpcStatus.ok, writer.finish());
}

/**
 * The arguments of a call of this program. What follows them is not looked at, as in libvirt.
 * @throws ProtocolError `bad value` for a procedure that there is not; `truncated`, `too long`
 */
export function decodeLockCall({ procedure, payload }: Pick<RpcFrame, 'procedure' | 'payload'>): LockCall {
  const reader = new XdrReader(payload);
  switch (procedure) {
    case lockProcedure.register:
      return {
        call: 'register',
        owner: {
          // Copied: it lives as long as its connection, the frame does not.
          uuid: Buffer.from(reader.opaqueFixed(uuidBytes, 'the uuid')),
          name: reader.string(lockStringBytesMax, "the owner's name"),
          id: reader.unsigned("the owner's id"),
          pid: reader.unsigned("the owner's pid"),
        },
        flags: readFlags(reader),
      };
    case lockProcedure.restrict:
      return { call: 'restrict', flags: readFlags(reader) };
    case lockProcedure.newLockspace:
      return { call: 'newLockspace', path: readPath(reader), flags: readFlags(reader) };
    case lockProcedure.createResource:
      return readResource('createResource', reader);
    case lockProcedure.deleteResource:
      return readResource('deleteResource', reader);
    case lockProcedure.acquire:
      return readResource('acquire', reader);
    case lockProcedure.release:
      return readResource('release', reader);
    case lockProcedure.createLockspace:
      return { call: 'createLockspace', path: readPath(reader) };
    default:
      throw new ProtocolError('bad value', `the lock program has no procedure ${procedure}`);
  }
}

function readResource<Call extends 'createResource' | 'deleteResource' | 'acquire' | 'release'>(
  call: Call,
  reader: XdrReader,
): ResourceArguments & { readonly call: Call } {
  return {
    call,
    path: readPath(reader),
    name: reader.string(lockStringBytesMax, 'the name'),
    flags: readFlags(reader),
  };
}

function readPath(reader: XdrReader): string {
  return reader.string(lockStringBytesMax, 'the path');
}

function readFlags(reader: XdrReader): number {
  return reader.unsigned('the flags');
}

/** The reply to a call: done, or an error. */
export function encodeLockReply(
  { procedure, serial }: Pick<RpcFrame, 'procedure' | 'serial'>,
  error?: RpcError,
): Buffer {
  return error === undefined
    ? lockFrame(procedure, rpcType.reply, serial, rpcStatus.ok, Buffer.alloc(0))
    : lockFrame(procedure, rpcType.reply, serial, rpcStatus.error, encodeRpcError(error));
}

function lockFrame(
  procedure: number,
  type: number,
  serial: number,
  status: number,
  payload: Uint8Array,
): Buffer {
  return encodeFrame(
    { program: lockProgram, version: lockVersion, procedure, type, serial, status },
    payload,
  );
}

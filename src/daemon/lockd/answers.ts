/**
 * The errors that libvirt gets: virtlockd's own codes, domains and words, which tools and people know (seen with 9.0; the
 * wire suite has them); who is in the way is added behind them.
 */
import { rpcErrorCode, rpcErrorDomain, rpcErrorLevel, type RpcError } from '../../protocol/rpc-error.js';
import { errorText } from '../../system/libc.js';
import type { Lock } from './lock-table.js';

type Code = keyof typeof rpcErrorCode;
type Domain = keyof typeof rpcErrorDomain;

/** What libvirt puts before the message of a code. */
const prefixes: Readonly<Partial<Record<Code, string>>> = {
  internal: 'internal error: ',
  operationDenied: 'operation forbidden: ',
  operationInvalid: 'Requested operation is not valid: ',
  resourceBusy: 'resource busy: ',
};

function answer(code: Code, domain: Domain, message: string, int1 = -1): RpcError {
  return {
    code: rpcErrorCode[code],
    domain: rpcErrorDomain[domain],
    message: `${prefixes[code] ?? ''}${message}`,
    level: rpcErrorLevel.error,
    int1,
    int2: -1,
  };
}

export const restricted = answer('operationDenied', 'rpc', 'lock manager connection has been restricted');

export const unregistered = answer('operationInvalid', 'rpc', 'lock owner details have not been registered');

/** What the calls are called in virtlockd, whose messages name them. */
const functions = {
  register: 'Register',
  restrict: 'Restrict',
  newLockspace: 'New',
  createResource: 'CreateResource',
  deleteResource: 'DeleteResource',
  acquire: 'AcquireResource',
  release: 'ReleaseResource',
} as const;

export function unsupportedFlags(flags: number, call: keyof typeof functions): RpcError {
  const name = `virLockSpaceProtocolDispatch${functions[call]}`;
  return answer(
    'invalidArgument',
    'rpc',
    `unsupported flags (0x${flags.toString(16)}) in function ${name}`,
    0,
  );
}

export function noSuchLockspace(path: string): RpcError {
  return answer('internal', 'rpc', `Lockspace for path ${path} does not exist`);
}

export function lockspaceExists(path: string): RpcError {
  return path === ''
    ? answer('operationInvalid', 'rpc', 'the default lockspace already exists')
    : answer('internal', 'rpc', `Lockspace for path ${path} already exists`);
}

export function lockspaceIsNoDirectory(path: string): RpcError {
  return answer('internal', 'lockspace', `Lockspace location ${path} exists, but is not a directory`);
}

export function cannotCreateLockspace(path: string, errno: number): RpcError {
  return answer('system', 'lockspace', `Unable to create lockspace ${path}: ${errorText(errno)}`, errno);
}

export function cannotOpen(path: string, create: boolean, errno: number): RpcError {
  const what = create ? 'open/create' : 'open';
  return answer('system', 'lockspace', `Unable to ${what} resource ${path}: ${errorText(errno)}`, errno);
}

/** Descriptors or memory are used up. */
export function cannotWatch(pid: number, errno: number): RpcError {
  return answer('system', 'lockspace', `the process ${pid} cannot be watched: ${errorText(errno)}`, errno);
}

/** `by`: who has it, in words, if that is known. */
export function isLocked(name: string, by: string | undefined): RpcError {
  const who = by === undefined ? '' : ` by ${by}`;
  return answer('resourceBusy', 'lockspace', `Lockspace resource '${name}' is locked${who}`);
}

/** Nobody has it, as far as is known, but the cluster does not grant it. */
export function notInCluster(name: string, why: string): RpcError {
  return answer(
    'internal',
    'lockspace',
    `Lockspace resource '${name}' cannot be locked in the cluster: ${why}`,
  );
}

export function isNotLocked(name: string): RpcError {
  return answer('resourceBusy', 'lockspace', `Lockspace resource '${name}' is not locked`);
}

export function otherOwner(pid: number): RpcError {
  return answer('internal', 'lockspace', `owner ${pid} does not hold the resource lock`);
}

/** What virtlockd would do, and this server does not. */
export function refused(why: string): RpcError {
  return answer('operationDenied', 'lockspace', why);
}

export function noSuchProgram(program: number, version: number): RpcError {
  return answer('rpc', 'rpc', `Cannot find program ${program} version ${version}`);
}

export function noSuchProcedure(procedure: number): RpcError {
  return answer('rpc', 'rpc', `unknown procedure: ${procedure}`);
}

export function unexpectedStatus(status: number): RpcError {
  return answer('rpc', 'rpc', `Unexpected message status ${status}`);
}

export const cannotDecode = answer('rpc', 'rpc', 'Unable to decode message payload');

export function ownersInWords({ owners, since }: Pick<Lock, 'owners' | 'since'>): string {
  const [first] = owners;
  const more = new Set(owners.map(({ pid }) => pid)).size - 1;
  const others = more > 0 ? ` and ${more} more` : '';
  return `guest "${first?.name}" (pid ${first?.pid}) since ${since}${others}`;
}

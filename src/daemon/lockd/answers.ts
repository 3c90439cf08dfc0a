/** The errors that libvirt gets: its own codes, domains and words, which tools and people know; who is in the way is added. */
import { rpcErrorCode, rpcErrorDomain, rpcErrorLevel, type RpcError } from '../../protocol/rpc-error.js';
import type { Lock } from './lock-table.js';

type Code = keyof typeof rpcErrorCode;

function answer(code: Code, domain: keyof typeof rpcErrorDomain, message: string, int1 = -1): RpcError {
  return {
    code: rpcErrorCode[code],
    domain: rpcErrorDomain[domain],
    message,
    level: rpcErrorLevel.error,
    int1,
    int2: -1,
  };
}

export const restricted = answer('operationDenied', 'locking', 'lock manager connection has been restricted');

export const unregistered = answer(
  'operationInvalid',
  'locking',
  'lock owner details have not been registered',
);

export const registeredTwice = answer('operationInvalid', 'locking', 'lock owner details already registered');

export function unsupportedFlags(flags: number): RpcError {
  return answer('invalidArgument', 'locking', `unsupported flags (0x${flags.toString(16)})`);
}

export function noSuchLockspace(path: string): RpcError {
  return answer('internal', 'locking', `Lockspace for path ${path} does not exist`);
}

export function noSuchProcess(pid: number): RpcError {
  return answer('internal', 'locking', `Cannot find start time for pid ${pid}`);
}

/** `by`: who has it, in words, if that is known. */
export function isLocked(name: string, by: string | undefined): RpcError {
  const who = by === undefined ? '' : ` by ${by}`;
  return answer('resourceBusy', 'lockspace', `resource busy: Lockspace resource '${name}' is locked${who}`);
}

export function isNotLocked(name: string): RpcError {
  return answer('resourceBusy', 'lockspace', `resource busy: Lockspace resource '${name}' is not locked`);
}

export function otherOwner(pid: number): RpcError {
  return answer('internal', 'lockspace', `owner ${pid} does not hold the resource lock`);
}

export function notAName(name: string): RpcError {
  return answer('invalidArgument', 'lockspace', `'${name}' is no name of a resource in a lockspace`);
}

export function systemFailure(what: string, errno: number, text: string): RpcError {
  return answer('system', 'lockspace', `${what}: ${text}`, errno);
}

export function unknownCall(what: string): RpcError {
  return answer('rpc', 'rpc', what);
}

export function ownersInWords({ owners, since }: Lock): string {
  const [first] = owners;
  const more = new Set(owners.map(({ pid }) => pid)).size - 1;
  const others = more > 0 ? ` and ${more} more` : '';
  return `guest "${first?.name}" (pid ${first?.pid}) since ${since.slice(0, 19)}Z${others}`;
}

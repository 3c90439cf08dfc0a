/** What a frame asks for, and the answers as frames. */
import { decodeLockCall, lockProgram, lockVersion, type LockCall } from '../../protocol/lock-protocol.js';
import { ProtocolError } from '../../protocol/protocol-error.js';
import { encodeRpcError, type RpcError } from '../../protocol/rpc-error.js';
import { encodeFrame, rpcStatus, rpcType, type RpcFrame, type RpcHeader } from '../../protocol/rpc-frame.js';
import * as answers from './answers.js';

const proceduresMax = 8;
const countBytes = 4;

/** The call; or the error that answers it; or undefined: it waits for no answer. */
export function lockCallOf(frame: RpcFrame): LockCall | RpcError | undefined {
  // A peer that answers, or tells something, waits for none.
  if (frame.type !== rpcType.call && frame.type !== rpcType.callWithDescriptors) return undefined;
  if (frame.program !== lockProgram || frame.version !== lockVersion) {
    return answers.noSuchProgram(frame.program, frame.version);
  }
  if (frame.status !== rpcStatus.ok) return answers.unexpectedStatus(frame.status);
  try {
    return decodeLockCall(frame.type === rpcType.call ? frame : withoutDescriptors(frame));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const isKnown = frame.procedure >= 1 && frame.procedure <= proceduresMax;
    return isKnown ? answers.cannotDecode : answers.noSuchProcedure(frame.procedure);
  }
}

/** Such a call has, before its arguments, how many descriptors came with it; none of this program has any. */
function withoutDescriptors({ procedure, payload }: RpcFrame): Pick<RpcFrame, 'procedure' | 'payload'> {
  if (payload.length < countBytes || payload.readUInt32BE(0) !== 0) {
    throw new ProtocolError('bad value', 'a call with descriptors');
  }
  return { procedure, payload: payload.subarray(countBytes) };
}

/** Most answers are this one, with another procedure and serial: written over each time. */
const doneReply = encodeFrame(
  {
    program: lockProgram,
    version: lockVersion,
    procedure: 0,
    type: rpcType.reply,
    serial: 0,
    status: rpcStatus.ok,
  },
  Buffer.alloc(0),
);

/** The frame that says that a call is done. It is another one with the next call of this function. */
export function doneReplyTo(procedure: number, serial: number): Buffer {
  doneReply.writeInt32BE(procedure, 12);
  doneReply.writeUInt32BE(serial, 20);
  return doneReply;
}

/** The frame that answers a call with an error. */
export function errorReplyTo({ program, version, procedure, serial }: RpcHeader, error: RpcError): Buffer {
  const header = { program, version, procedure, type: rpcType.reply, serial, status: rpcStatus.error };
  return encodeFrame(header, encodeRpcError(error));
}

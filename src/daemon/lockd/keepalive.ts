/**
 * libvirt's keepalive, a program of its own beside the one that is spoken (libvirt's virkeepaliveprotocol.x): who is pinged
 * answers. Lock clients do not use it unless they are told to.
 */
import { encodeFrame, rpcStatus, rpcType, type RpcHeader } from '../../protocol/rpc-frame.js';

export const keepaliveProgram = 0x6b656570;
const version = 1;
const ping = 1;
const pong = 2;

/** Undefined: it wants no answer. */
export function answerKeepalive(message: RpcHeader): Buffer | undefined {
  if (message.version !== version || message.procedure !== ping) return undefined;
  const { ok } = rpcStatus;
  return encodeFrame(
    { program: keepaliveProgram, version, procedure: pong, type: rpcType.message, serial: 0, status: ok },
    Buffer.alloc(0),
  );
}

/** The one error that anything in this folder throws, whatever bytes it is given. */

/**
 * - `truncated`: the bytes end before the value does.
 * - `too long`: a length is above its limit; nothing of that length was read or allocated.
 * - `bad value`: a value that the protocol does not have.
 * - `framing lost`: nobody knows where the next frame begins; the connection can only be closed.
 */
export type ProtocolFault = 'truncated' | 'too long' | 'bad value' | 'framing lost';

export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly fault: ProtocolFault;

  constructor(fault: ProtocolFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

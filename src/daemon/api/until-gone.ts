/** Whether whoever asked is still there to be answered. */
import type { FastifyReply } from 'fastify';
import { HoldfastError } from '../../errors.js';

/** Aborted when the connection ends before the answer has gone out. */
export function untilGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const giveUp = (): void => {
    if (!reply.raw.writableFinished)
      gone.abort(new HoldfastError('ABORTED', 'who asked has gone; nothing is held'));
  };
  reply.raw.once('close', giveUp);
  if (reply.raw.destroyed) giveUp();
  return gone.signal;
}

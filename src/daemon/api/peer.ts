/** Who asks, as the kernel says (SO_PEERCRED), and what he may. */
import type { Socket } from 'node:net';
import { HoldfastError } from '../../errors.js';
import type { OwnerProcess } from '../../index.js';
import { peerCredentials, peerGroups, type PeerCredentials } from '../../system/peer-credentials.js';
import { processStartTime, readProcess } from '../../system/process.js';

/** `look`: everything that takes and changes nothing. */
export type Access = 'look' | 'change';

export interface Peer extends PeerCredentials {
  readonly may: Access;
}

const root = 0;
const known = new WeakMap<Socket, Peer>();

/**
 * The other end of a connection: root and the daemon's own user may do everything, members of `lookers` may look.
 * Throws `NOT_PERMITTED` for everybody else.
 */
export function peerOf(socket: Socket, lookers: number | undefined): Peer {
  const before = known.get(socket);
  if (before !== undefined) return before;
  const fd = descriptorOf(socket);
  const credentials = peerCredentials(fd);
  const may = accessOf(credentials, lookers, () => peerGroups(fd));
  if (may === undefined) {
    throw new HoldfastError('NOT_PERMITTED', `user ${credentials.uid} may not use this daemon`, {
      remedy: 'Ask as root or as the user whom it runs as; members of its group may look.',
    });
  }
  const peer = { ...credentials, may };
  known.set(socket, peer);
  return peer;
}

export function accessOf(
  { uid }: Pick<PeerCredentials, 'uid'>,
  lookers: number | undefined,
  groups: () => readonly number[],
  own = process.geteuid?.() ?? root,
): Access | undefined {
  if (uid === root || uid === own) return 'change';
  return lookers !== undefined && groups().includes(lookers) ? 'look' : undefined;
}

/** Node shows no descriptor of a connection but here, and has done so since its first versions. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly fd?: unknown } };
  const fd = handle?.fd;
  if (typeof fd !== 'number' || fd < 0)
    throw new Error('this version of Node hides the descriptor of a connection');
  return fd;
}

/**
 * The process that shall hold: the one that asks, or another one of the same user; root may name any.
 * Throws `BAD_DATA` where it has ended, `NOT_PERMITTED`.
 */
export function ownerProcess(
  peer: Peer,
  asked: { readonly pid?: number; readonly startTime?: number } = {},
): OwnerProcess {
  const pid = asked.pid ?? peer.pid;
  if (pid === 0) {
    throw new HoldfastError('NOT_PERMITTED', 'the process that asks cannot be seen from here', {
      remedy: 'Ask from the pid namespace that the daemon runs in.',
    });
  }
  const startTime = processStartTime(pid);
  if (startTime === undefined || (asked.startTime !== undefined && asked.startTime !== startTime)) {
    throw new HoldfastError('BAD_DATA', `the process ${pid} has ended, and cannot hold anything`);
  }
  if (pid !== peer.pid && peer.uid !== root && readProcess(pid)?.uid !== peer.uid) {
    throw new HoldfastError('NOT_PERMITTED', `the process ${pid} is another user's`);
  }
  return { pid, startTime };
}

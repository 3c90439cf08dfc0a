/** The connections of those who may only look, counted by user. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { LookingConnections } from '../../../src/daemon/api/looking-connections.js';
import type { Peer } from '../../../src/daemon/api/peer.js';

class FakeSocket extends EventEmitter {
  readonly uid: number;
  destroyed = false;

  constructor(uid: number) {
    super();
    this.uid = uid;
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

test('each user has a number of his own, who may change has none, and all strangers share one', () => {
  const looking = new LookingConnections(2, (socket) => {
    const { uid } = socket as unknown as FakeSocket;
    if (uid === 13 || uid === 14) throw new Error('may not even look');
    return { pid: 1, uid, gid: uid, may: uid === 0 ? 'change' : 'look' } satisfies Peer;
  });
  const add = (uid: number): FakeSocket => {
    const socket = new FakeSocket(uid);
    looking.add(socket as unknown as Socket);
    return socket;
  };
  const stateOf = (socket: FakeSocket): string =>
    socket.destroyed ? 'closed' : looking.isTooMany(socket as unknown as Socket) ? 'too many' : 'open';

  const some = [7, 7, 7, 7, 7, 8, 8, 13, 14, 13, 14, 13, 0, 0, 0, 0, 0].map(add);
  assert.deepEqual(some.map(stateOf), [
    ...['open', 'open', 'too many', 'too many', 'closed'],
    ...['open', 'open'],
    ...['open', 'open', 'too many', 'too many', 'closed'],
    ...['open', 'open', 'open', 'open', 'open'],
  ]);
  for (const socket of some.slice(0, 4)) socket.destroy();
  assert.deepEqual([7, 7, 7].map(add).map(stateOf), ['open', 'open', 'too many']);
  for (const socket of some) if (!socket.destroyed) socket.destroy();
});

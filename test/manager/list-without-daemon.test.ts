import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { listWithoutDaemon, openDaemon } from '../../src/index.js';
import type { ListedHold } from '../../src/manager/list-holds.js';
import { privateRuntime } from '../beds/private-folder.js';

const folder = privateRuntime();

const held = (id: string, ...drivers: string[]): ListedHold => ({
  id,
  owner: { kind: 'command', name: 'sleep', uuid: '', pid: 42, startTime: 1, host: 'h', hostId: 'h' },
  since: '2026-01-01T00:00:00Z',
  drivers,
  resources: [{ label: '/a.img', identity: 'file:a', mode: 'exclusive' }],
  processes: [],
});

test('where no daemon runs, what was left to it is not locked, and what a process holds itself is', async () => {
  const daemon = await openDaemon({ socket: join(folder, 'api.sock'), configuration: false });
  const why = await daemon.holds().catch((error: unknown) => error);
  const listed = listWithoutDaemon([held('1', 'holdfastd'), held('2', 'fcntl')], why);
  assert.deepEqual(
    listed.map(({ lost }) => lost),
    ['holdfastd does not run: nothing of it is locked', undefined],
  );
});

test('of a daemon that is there and does not answer nothing is known', () => {
  const own = [held('1', 'holdfastd')];
  assert.deepEqual(listWithoutDaemon(own, new Error('late')), own);
});

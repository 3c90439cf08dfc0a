import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processUses, type ResourceFile, type ResourceMap } from '../../src/holders/process-use.js';
import type { ResourceTarget } from '../../src/holders/resource-targets.js';
import { processStartTime } from '../../src/system/process.js';
import { namedResource } from '../beds/file-resource.js';

const target: ResourceTarget = {
  kind: 'inode',
  inode: { dev: '8:1', ino: '7' },
  resource: namedResource('x'),
  relation: 'self',
};
const pid = process.pid;
const now = processStartTime(pid) ?? 0;
const file = (startTime: number): ResourceFile => ({
  target,
  pid,
  fd: 3,
  access: 'read-write',
  locks: [],
  startTime,
});
const map = (startTime: number): ResourceMap => ({ target, pid, writes: true, text: '', startTime });

test('what a process had that has ended is not laid to the one that has its pid now', () => {
  assert.deepEqual(
    processUses([file(now)]).map((use) => use.pid),
    [pid],
  );
  assert.deepEqual(processUses([file(now - 1)]), []);
  assert.deepEqual(processUses([], [map(now - 1)]), []);
  assert.equal(processUses([file(now)], [map(now)]).length, 1);
});

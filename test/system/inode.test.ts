import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inodeOf } from '../../src/system/inode.js';

test('an inode number of 64 bits is written as the kernel writes it in /proc', () => {
  // Seen on GlusterFS: stat(1) printed the second, Node's bigint stats gave the first.
  const inode = inodeOf({ dev: 41n, ino: -8060347159225298334n });
  assert.deepEqual(inode, { dev: '0:41', ino: '10386396914484253282' });
});

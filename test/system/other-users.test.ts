import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sameUserOnly } from '../../src/system/other-users.js';
import { privateFolder } from '../beds/private-folder.js';
import { needs } from '../needs.js';

test('who may look into the first process may look into all', () => {
  const root = privateFolder();
  // hidepid (proc(5)): what is another user's is not even there.
  assert.equal(sameUserOnly(root), true);
  mkdirSync(join(root, '1/fd'), { recursive: true });
  assert.equal(sameUserOnly(root), false);
});

test('root may', (t) => {
  if (needs(t, 'root')) assert.equal(sameUserOnly(), false);
});

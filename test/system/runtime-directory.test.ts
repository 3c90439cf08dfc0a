import assert from 'node:assert/strict';
import { chmodSync, chownSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '../../src/errors.js';
import { privateDirectory, runtimeDirectory } from '../../src/system/runtime-directory.js';
import { privateFolder } from '../beds/private-folder.js';
import { needs } from '../needs.js';

const folder = privateFolder();

const refused = (directory: string, why: RegExp): void =>
  assert.throws(
    () => privateDirectory(directory),
    (error) => isHoldfastError(error, 'NOT_PERMITTED') && why.test(error.message),
  );

test('where it is', () => {
  assert.equal(runtimeDirectory({ HOLDFAST_RUNTIME_DIR: '/x/y' }), '/x/y');
  assert.throws(
    () => runtimeDirectory({ HOLDFAST_RUNTIME_DIR: 'x' }),
    (error) => isHoldfastError(error, 'CONFIG'),
  );
  const uid = process.geteuid?.() ?? 0;
  assert.equal(
    runtimeDirectory({ XDG_RUNTIME_DIR: '/run/user/7' }),
    uid === 0 ? '/run/holdfast' : '/run/user/7/holdfast',
  );
  assert.equal(
    runtimeDirectory({ XDG_RUNTIME_DIR: 'relative' }),
    uid === 0 ? '/run/holdfast' : `/tmp/holdfast-${uid}`,
  );
});

test('it is made with its parents, for this user alone', () => {
  const made = join(folder, 'a', 'b', 'holds');
  assert.equal(privateDirectory(made), made);
  for (const path of [made, join(folder, 'a', 'b')]) assert.equal(lstatSync(path).mode & 0o777, 0o700);
});

test('one that others can write, or a parent that they can, is refused', () => {
  const open = join(folder, 'open');
  mkdirSync(join(open, 'holds'), { recursive: true });
  chmodSync(open, 0o777);
  refused(join(open, 'holds'), /others can write to .*open/);
  chmodSync(open, 0o1777);
  privateDirectory(join(open, 'holds'));
  const group = join(folder, 'group');
  mkdirSync(group);
  chmodSync(group, 0o770);
  refused(group, /others can write/);
});

test('a symlink in its place, and a file, are refused', () => {
  const real = join(folder, 'real');
  mkdirSync(real, { mode: 0o700 });
  const link = join(folder, 'link');
  symlinkSync(real, link);
  refused(link, /symlink/);
  writeFileSync(join(folder, 'file'), '');
  refused(join(folder, 'file'), /not a directory/);
  refused(join(folder, 'file', 'below'), /not a directory|ENOTDIR/);
});

test('what belongs to another user is refused, on the way too', (t) => {
  if (!needs(t, 'root')) return;
  const theirs = join(folder, 'theirs');
  mkdirSync(join(theirs, 'holds'), { recursive: true });
  chownSync(theirs, 65534, 65534);
  refused(join(theirs, 'holds'), /belongs to user 65534/);
  refused(theirs, /belongs to user 65534/);
});

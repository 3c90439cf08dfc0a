/** What is read of an image is read of the one that was looked at, and nothing blocks. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { lookAtPath } from '../../src/plan/look-at-path.js';
import { withImage } from '../../src/plan/open-image.js';
import { needs } from '../needs.js';
import { scratch } from './guest.js';

const text = (path: string) => (): string =>
  withImage(lookAtPath(path, 'disk'), (readAt) => readAt(0, 100).toString());

test('an image is read, across its first block and not beyond its end', (t) => {
  const path = join(scratch(t), 'a.img');
  writeFileSync(path, 'abc');
  assert.equal(text(path)(), 'abc');
  writeFileSync(path, Buffer.alloc(5000, 'x'));
  const read = withImage(lookAtPath(path, 'disk'), (readAt) => [
    readAt(4090, 10).length,
    readAt(4990, 100).length,
  ]);
  assert.deepEqual(read, [10, 10]);
});

test('another file that took its place is not read', (t) => {
  const folder = scratch(t);
  const [path, other] = [join(folder, 'a.img'), join(folder, 'b.img')];
  writeFileSync(path, 'a');
  writeFileSync(other, 'b');
  const seen = lookAtPath(path, 'disk');
  renameSync(other, path);
  assert.throws(() => withImage(seen, () => 'read'), { code: 'MOVED' });
});

test('a named pipe that took its place does not block', (t) => {
  const folder = scratch(t);
  const path = join(folder, 'a.img');
  writeFileSync(path, 'a');
  const seen = lookAtPath(path, 'disk');
  renameSync(path, join(folder, 'gone'));
  execFileSync('mkfifo', [path]);
  // In a process of its own: an open that blocks would block this one for ever.
  const module = new URL('../../src/plan/open-image.ts', import.meta.url).href;
  const script = `import { withImage } from ${JSON.stringify(module)};
    try { withImage(${JSON.stringify(seen)}, () => 0); } catch ({ code }) { console.log(code); }`;
  const { stdout, signal } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', script],
    { encoding: 'utf8', timeout: 30_000, killSignal: 'SIGKILL' },
  );
  assert.deepEqual([stdout, signal], ['MOVED\n', null]);
});

test('what may not be read is said before anything is locked', (t) => {
  if (!needs(t, 'root')) return;
  const folder = scratch(t);
  chmodSync(folder, 0o755);
  const path = join(folder, 'secret.img');
  writeFileSync(path, '', { mode: 0o600 });
  const script = fileURLToPath(new URL('./look-as-nobody.ts', import.meta.url));
  const look = (): unknown =>
    JSON.parse(execFileSync(process.execPath, ['--import', 'tsx', script, path], { encoding: 'utf8' }));
  assert.deepEqual(look(), ['file', 'NOT_READABLE']);
  chmodSync(path, 0o644);
  assert.deepEqual(look(), ['file', 'file']);
});

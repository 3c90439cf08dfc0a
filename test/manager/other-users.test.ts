/** What an ordinary user cannot see of other users' programs is said. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { unseenWriters } from '../../src/holders/unseen-writers.js';
import { openManager } from '../../src/index.js';
import { privateRuntime } from '../beds/private-folder.js';
import { needs } from '../needs.js';

const folder = privateRuntime();
const script = fileURLToPath(new URL('./as-nobody.ts', import.meta.url));
const nobody = 65534;

interface Notes {
  readonly plan: readonly string[];
  readonly hold: readonly string[];
}

test("who may write somebody else's disk is told that other users' writers do not show, and nobody else", async (t) => {
  if (!needs(t, 'root')) return;
  chmodSync(folder, 0o755);
  const home = join(folder, 'home');
  mkdirSync(home);
  chownSync(home, nobody, nobody);
  const [foreign, own] = [join(folder, 'foreign.img'), join(folder, 'own.img')];
  writeFileSync(foreign, '');
  chmodSync(foreign, 0o666);
  writeFileSync(own, '');
  chownSync(own, nobody, nobody);
  const text = execFileSync(
    process.execPath,
    ['--import', 'tsx', script, home, foreign, `${foreign}:read`, own],
    { encoding: 'utf8' },
  );
  const notes = JSON.parse(text) as Record<string, Notes>;
  const wanted = `${foreign}: whether a program of another user writes it without a lock cannot be seen from here (root sees it)`;
  const unseen = (lines: readonly string[] = []): string[] =>
    lines.filter((line) => line.includes('cannot be seen'));
  assert.deepEqual([unseen(notes[foreign]?.plan), unseen(notes[foreign]?.hold)], [[wanted], [wanted]]);
  for (const disk of [`${foreign}:read`, own]) {
    assert.deepEqual([unseen(notes[disk]?.plan), unseen(notes[disk]?.hold)], [[], []], disk);
  }
  await using manager = openManager({ configuration: false });
  assert.deepEqual(unseen((await manager.plan({ disks: [foreign] })).notes), []);
});

test('root sees who writes where the kernel does not tell, so there is nothing to say', (t) => {
  if (!needs(t, 'root')) return;
  const path = join(folder, 'shared.img');
  writeFileSync(path, '');
  const base = { kind: 'disk', identity: 'fs:nfs:nas:/x:1', label: path, path } as const;
  assert.deepEqual(unseenWriters([{ ...base, storage: 'file', scope: 'cluster' }]), []);
});

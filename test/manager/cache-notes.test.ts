/** What a plan says of disks that are locked against other hosts and buffered on this one. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import memory from '../../src/drivers/memory/memory.js';
import { openManager } from '../../src/index.js';
import { privateRuntime } from '../beds/private-folder.js';

const folder = privateRuntime();

function xmlWith(cache: string, path: string, more = ''): string {
  return `<domain type='qemu'><name>g</name><uuid>5f1c4b2a-7c35-4a0e-9a31-0d6b0f6e8a11</uuid><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'${cache}/><source file='${path}'/><target dev='vda'/>${more}</disk>
</devices></domain>`;
}

async function notesOf(xml: string, reach: 'host' | 'cluster'): Promise<readonly string[]> {
  const driver = { ...memory, about: { ...memory.about, reach } };
  await using manager = openManager({ configuration: false, driver });
  const { notes } = await manager.plan({ xml });
  return notes.filter((note) => note.includes('cache mode'));
}

test('a buffered disk under a driver that reaches other hosts', async () => {
  const disk = join(folder, 'disk.raw');
  writeFileSync(disk, 'data');
  for (const cache of ['writeback', 'writethrough', 'unsafe', 'default']) {
    const [note, ...others] = await notesOf(xmlWith(` cache='${cache}'`, disk), 'cluster');
    assert.ok(note?.startsWith(`${disk}: cache mode ${cache}: `), note);
    assert.deepEqual(others, []);
  }
  assert.match((await notesOf(xmlWith('', disk), 'cluster')).join(), /cache mode default/);
  for (const cache of ['none', 'directsync']) {
    assert.deepEqual(await notesOf(xmlWith(` cache='${cache}'`, disk), 'cluster'), []);
  }
  assert.deepEqual(await notesOf(xmlWith('', disk), 'host'), []);
  assert.deepEqual(await notesOf(xmlWith('', disk, '<readonly/>'), 'cluster'), []);
});

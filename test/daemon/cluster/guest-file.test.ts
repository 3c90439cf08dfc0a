/** The files of what guests have in the cluster: one that this build cannot read is another build's, and stays. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GuestFiles } from '../../../src/daemon/cluster/guest-file.js';
import { bootId } from '../../../src/system/host.js';
import { privateFolder } from '../../beds/private-folder.js';

const parent = privateFolder();
const owner = { uuid: 'a'.repeat(32), name: 'web1', id: 1, pid: 4_711, startTime: 12 };
let folders = 0;

function folderWith(files: Readonly<Record<string, unknown>>): { files: GuestFiles; folder: string } {
  const folder = join(parent, `cluster${++folders}`);
  const made = new GuestFiles(folder);
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return { files: made, folder };
}

test('what was written is read', () => {
  const { files } = folderWith({});
  files.write(owner, new Map([['disk', []]]));
  assert.deepEqual(files.readAll(), {
    guests: [{ owner, things: new Map([['disk', []]]) }],
    notUnderstood: [],
  });
});

test('one of a later form, after a downgrade, stays as it is and is named; so does one that cannot be read', () => {
  const later = { format: 2, boot: bootId(), guest: 'in other words' };
  const broken = { format: 1, boot: bootId(), owner: 'nobody' };
  const { files, folder } = folderWith({ '1-1.json': later, '2-2.json': '{"format', '3-3.json': broken });
  files.write(owner, new Map());
  const { guests, notUnderstood } = files.readAll();
  assert.deepEqual(
    guests.map(({ owner: { pid } }) => pid),
    [owner.pid],
  );
  assert.deepEqual(notUnderstood.toSorted(), ['1-1.json', '2-2.json', '3-3.json']);
  assert.deepEqual(JSON.parse(readFileSync(join(folder, '1-1.json'), 'utf8')), later);
  assert.equal(readdirSync(folder).length, 4);
});

test('of another boot nothing is left, in whatever form it was written', () => {
  const { files, folder } = folderWith({ '1-1.json': { format: 2, boot: 'another' } });
  assert.deepEqual(files.readAll(), { guests: [], notUnderstood: [] });
  assert.deepEqual(readdirSync(folder), []);
});

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkVisibility } from '../../src/doctor/check-visibility.js';
import { privateFolder } from '../beds/private-folder.js';
import { ids, only, recordedHost, type Recorded } from './recorded-host.js';

const folder = privateFolder();
const found = (recorded: Recorded): string[] => ids(checkVisibility(recordedHost(folder, recorded)));

test('a host as it should be', () => {
  assert.deepEqual(found({}), ['machine-id-set', 'leases-on', 'processes-visible']);
});

test('a machine id that is none', () => {
  for (const text of ['', '\n', 'uninitialized\n', `${'0'.repeat(32)}\n`, 'abc\n']) {
    assert.equal(found({ etc: { 'machine-id': text } })[0], 'machine-id-missing', JSON.stringify(text));
  }
  const host = recordedHost(folder);
  rmSync(join(host.roots.etc, 'machine-id'));
  assert.match(only(checkVisibility(host), 'machine-id-missing').what, /ENOENT/);
});

test('leases that are off', () => {
  assert.equal(found({ proc: { 'sys/fs/leases-enable': '0\n' } })[1], 'leases-off');
});

test('hidepid matters to those who are not root', () => {
  const mounted = (option: string) => ({
    'self/mountinfo': `22 27 0:21 / /proc rw - proc proc rw${option}\n`,
  });
  const seen = (option: string, uid: number): string | undefined => found({ uid, proc: mounted(option) })[2];
  for (const option of [',hidepid=1', ',hidepid=2', ',hidepid=invisible', ',gid=4,hidepid=ptraceable']) {
    assert.equal(seen(option, 1000), 'processes-hidden', option);
    assert.equal(seen(option, 0), 'processes-visible', option);
  }
  for (const option of ['', ',hidepid=0', ',hidepid=off', ',gid=4']) {
    assert.equal(seen(option, 1000), 'processes-of-others', option);
  }
});

test('another pid namespace does not see the host', () => {
  assert.deepEqual(found({ contained: true }).slice(2), ['host-not-seen']);
  assert.deepEqual(found({ contained: true, uid: 1000 }).slice(2), ['processes-of-others', 'host-not-seen']);
});

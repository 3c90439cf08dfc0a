import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkVisibility } from '../../src/doctor/check-visibility.js';
import { privateFolder } from '../beds/private-folder.js';
import { ids, only, recordedHost, type Recorded } from './recorded-host.js';

const folder = privateFolder();
const found = async (recorded: Recorded): Promise<string[]> =>
  ids(await checkVisibility(recordedHost(folder, recorded)));

test('a host as it should be', async () => {
  assert.deepEqual(await found({}), ['machine-id-set', 'leases-on', 'processes-visible']);
});

test('a machine id that is none', async () => {
  for (const text of ['', '\n', 'uninitialized\n', `${'0'.repeat(32)}\n`, 'abc\n']) {
    assert.equal(
      (await found({ etc: { 'machine-id': text } }))[0],
      'machine-id-missing',
      JSON.stringify(text),
    );
  }
  const host = recordedHost(folder);
  rmSync(join(host.roots.etc, 'machine-id'));
  assert.match(only(await checkVisibility(host), 'machine-id-missing').what, /ENOENT/);
});

test('leases that are off', async () => {
  assert.equal((await found({ proc: { 'sys/fs/leases-enable': '0\n' } }))[1], 'leases-off');
});

test('hidepid matters to those who are not root', async () => {
  const mounted = (option: string) => ({
    'self/mountinfo': `22 27 0:21 / /proc rw - proc proc rw${option}\n`,
  });
  const seen = async (option: string, uid: number): Promise<string | undefined> =>
    (await found({ uid, proc: mounted(option) }))[2];
  for (const option of [',hidepid=1', ',hidepid=2', ',hidepid=invisible', ',gid=4,hidepid=ptraceable']) {
    assert.equal(await seen(option, 1000), 'processes-hidden', option);
    assert.equal(await seen(option, 0), 'processes-visible', option);
  }
  for (const option of ['', ',hidepid=0', ',hidepid=off', ',gid=4']) {
    assert.equal(await seen(option, 1000), 'processes-of-others', option);
  }
});

test('another pid namespace does not see the host', async () => {
  assert.deepEqual((await found({ contained: true })).slice(2), ['host-not-seen']);
  assert.deepEqual((await found({ contained: true, uid: 1000 })).slice(2), [
    'processes-of-others',
    'host-not-seen',
  ]);
});

test('what cannot be looked into is said to root too, in the words of who; what has nothing open is passed over', async () => {
  const processes = [{ pid: 7, argv: ['/usr/bin/closed'] }];
  // No folder: it cannot be read, as one that may not be.
  const closed = (stat: string): Recorded => ({ proc: { '7/fd': '', '7/stat': stat } });
  const stat = (state: string, threads: number, flags = 0): string =>
    `7 (closed) ${state} 1 7 7 0 -1 ${flags} 0 0 0 0 0 0 0 0 20 0 ${threads} 0 100 0 0\n`;
  const host = recordedHost(folder, closed(stat('S', 1)));
  const said = only(await checkVisibility(host), 'processes-closed');
  assert.equal(said.what, 'not seen: what process 7 has open, which cannot be looked into');
  assert.deepEqual((await found(closed(stat('Z', 2)))).slice(2), ['processes-closed']);
  for (const none of [stat('Z', 1), stat('S', 1, 0x200000)])
    assert.deepEqual((await found(closed(none))).slice(2), ['processes-visible']);
  assert.deepEqual((await found({ processes })).slice(2), ['processes-visible']);
});

/** libguestfs under `run`: the image is guestfish's alone, and whoever comes second is told so. */
import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { call, commandFolder, endLeftProcesses, holdfast } from '../beds/command.js';
import { guestfishCommand, startGuestfish } from '../beds/guestfish.js';
import { lockedBytes, untilFree } from '../beds/observed-lock.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
afterEach(endLeftProcesses);

describe('guestfish', { skip: lacks('guestfish') }, () => {
  // One launch for all of it: it takes half a minute.
  test('under run it works, and keeps others out', async () => {
    const disk = join(folder, 'web1.img');
    writeFileSync(disk, '');
    truncateSync(disk, 64 << 20);
    const guestfish = await startGuestfish(holdfast, [
      'run',
      '--disk',
      disk,
      '--',
      ...guestfishCommand(disk, 'raw'),
    ]);
    assert.deepEqual(lockedBytes(disk), [0, 100, 101, 201], "Holdfast's, and those of the appliance's QEMU");

    for (const mode of ['exclusive', 'shared', 'read']) {
      const refused = await call(['run', '--disk', `${disk}:${mode}`, '--', 'echo', 'ran']);
      assert.deepEqual([refused.status, refused.stdout], [75, ''], mode);
      assert.match(refused.stderr, new RegExp(`^ {2}held by {3}guestfish \\(pid ${guestfish.pid}\\b`, 'm'));
    }
    const who = await call(['who', disk]);
    assert.equal(who.status, 0, who.stderr);
    const holder = `guestfish \\(pid ${guestfish.pid}, user \\w+\\) on this host since \\d\\d:\\d\\d:\\d\\d`;
    assert.match(who.stdout, new RegExp(`^ {2}held by {3}${holder}$`, 'm'));
    assert.match(who.stdout, /^ {2}through {3}Holdfast \(fcntl\), and QEMU's own image lock$/m);
    assert.equal(who.stdout.match(/held by/g)?.length, 1, 'its appliance is part of it');
    const peek = await call(['run', '--disk', `${disk}:peek`, '--', 'echo', 'ran']);
    assert.deepEqual([peek.status, peek.stdout], [0, 'ran\n']);
    assert.match(peek.stderr, new RegExp(`guestfish \\(pid ${guestfish.pid}\\).*may not fit together`));

    guestfish.child.stdin?.end('part-disk /dev/sda mbr\n');
    assert.equal((await guestfish.ended).status, 0, guestfish.stderr);
    assert.equal(readFileSync(disk).readUInt16BE(510), 0x55aa, 'it wrote a partition table');
    await untilFree(disk);
    assert.deepEqual(lockedBytes(disk), []);
    assert.equal((await call(['run', '-q', '--disk', disk, '--', 'true'])).status, 0);
  });
});

/** A real guestfish: its program is named, and not the QEMU of its appliance. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { findHolders } from '../../src/holders/find-holders.js';
import { commandFolder } from '../beds/command.js';
import { guestfishCommand, startGuestfish } from '../beds/guestfish.js';
import { rawDisk } from '../beds/qemu.js';
import { lacks } from '../needs.js';
import { resourceAt } from './actor.js';

const folder = commandFolder();

test('guestfish', { skip: lacks('guestfish', 'qemu') }, async () => {
  const path = rawDisk(join(folder, 'a.img'));
  const [program, ...args] = guestfishCommand(path, 'raw');
  const guestfish = await startGuestfish(program, args);
  const { holders } = await findHolders(resourceAt(path), { everyone: true });
  assert.deepEqual(
    holders.map(({ guest, name, program, pid, through, remedy }) => ({
      guest,
      name,
      program,
      pid,
      through,
      remedy,
    })),
    [
      {
        guest: undefined,
        name: 'libguestfs',
        program: 'guestfish',
        pid: guestfish.pid,
        through: ["QEMU's own image lock"],
        remedy: `end guestfish (pid ${guestfish.pid}), or wait for it`,
      },
    ],
  );
});

/** Run by a test as root: becomes an ordinary user, plans and locks disks one by one, prints the notes as JSON. */
import { mkdtempSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openManager } from '../../src/index.js';
import { libcFunction } from '../../src/system/libc.js';

const nobody = 65534;
const PR_SET_DUMPABLE = 4;
const prctl = libcFunction<[option: number, value: number, a: number, b: number, c: number]>(
  'int prctl(int option, ulong value, ulong a, ulong b, ulong c)',
);
const [folder = '', ...disks] = process.argv.slice(2);

async function notesOf(disk: string): Promise<{ plan: readonly string[]; hold: readonly string[] }> {
  await using manager = openManager({ configuration: false });
  const { notes } = await manager.plan({ disks: [disk] });
  const hold = await manager.lock({ disks: [disk] });
  return { plan: notes, hold: hold.notes };
}

// All code is loaded while it can be read: the checkout may be root's alone.
const own = join(mkdtempSync(join(folder, 'first-')), 'disk.img');
writeFileSync(own, '');
await notesOf(own);

process.setgroups?.([]);
process.setgid?.(nobody);
process.setuid?.(nobody);
// A process that changed its user may not look at itself (prctl(2)), unlike one that a user started.
prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
process.env['HOLDFAST_RUNTIME_DIR'] = mkdtempSync(join(folder, 'run-'));
const all: Record<string, unknown> = {};
for (const disk of disks) all[disk] = await notesOf(disk);
writeSync(1, JSON.stringify(all));

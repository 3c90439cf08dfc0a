/** Run by a test as root: becomes an ordinary user, looks for the holders of a file, prints them as JSON. */
import { writeSync } from 'node:fs';
import { findHolders, findUnlockedUse } from '../../src/holders/find-holders.js';
import { libcFunction } from '../../src/system/libc.js';
import { resourceAt } from './actor.js';

const nobody = 65534;
const PR_SET_DUMPABLE = 4;
const prctl = libcFunction<[option: number, value: number, a: number, b: number, c: number]>(
  'int prctl(int option, ulong value, ulong a, ulong b, ulong c)',
);
// All code is loaded while it can be read: the folder may be root's alone.
const resource = resourceAt(process.argv[2] ?? '');
await findHolders(resource);

process.setgroups?.([]);
process.setgid?.(nobody);
process.setuid?.(nobody);
// A process that changed its user may not look at itself (prctl(2)), unlike one that a user started.
prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
const found = await findHolders(resource);
const unlocked = [...(await findUnlockedUse([resource])).keys()];
writeSync(1, `${JSON.stringify({ ...found, unlocked })}\n`);

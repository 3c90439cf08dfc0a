/** Run by tests in name spaces, or as another user: examines the paths it is given, and prints what it finds as JSON. */
import { writeSync } from 'node:fs';
import { examineHost } from '../../src/doctor/examine-host.js';
import { libcFunction } from '../../src/system/libc.js';

const nobody = 65534;
const PR_SET_DUMPABLE = 4;
const prctl = libcFunction<[option: number, value: number, a: number, b: number, c: number]>(
  'int prctl(int option, ulong value, ulong a, ulong b, ulong c)',
);

if (process.env['LOOK_AS'] === 'nobody') {
  // All code is loaded while it can be read: the folder may be root's alone.
  await examineHost(process.argv.slice(2));
  process.setgroups?.([]);
  process.setgid?.(nobody);
  process.setuid?.(nobody);
  // A process that changed its user may not look at itself (prctl(2)), unlike one that a user started.
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}
writeSync(1, `${JSON.stringify(await examineHost(process.argv.slice(2)))}\n`);

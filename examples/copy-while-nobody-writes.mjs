/**
 * Copies a disk image while nobody has it locked for writing; waits for that, and says for whom. Of a program that
 * writes without a lock it only says so.
 *
 *   node copy-while-nobody-writes.mjs web1.qcow2 backup.qcow2
 */
import { copyFile } from 'node:fs/promises';
import { lockDisks } from 'holdfast';

const [from, to] = process.argv.slice(2);
if (to === undefined) {
  console.error('usage: node copy-while-nobody-writes.mjs FROM TO');
  process.exit(64);
}

const hold = await lockDisks([{ path: from, mode: 'read' }], {
  name: 'backup',
  wait: 60_000,
  onWait: ({ refusal }) => console.error(`waiting: ${refusal.message}`),
});
try {
  for (const note of hold.notes) console.error(note);
  await copyFile(from, to);
  console.log(`copied ${from} to ${to}`);
} finally {
  await hold.release();
}

/**
 * Copies a disk image while nobody writes to it; waits for that, and says for whom.
 *
 *   node copy-while-nobody-writes.mjs web1.qcow2 backup.qcow2
 */
import { copyFile } from 'node:fs/promises';
import { lockDisks } from 'holdfast';

const [from, to] = process.argv.slice(2);

const hold = await lockDisks([{ path: from, mode: 'read' }], {
  name: 'backup',
  wait: 60_000,
  onWait: ({ refusal }) => console.error(`waiting: ${refusal.message}`),
});
try {
  await copyFile(from, to);
  console.log(`copied ${from} to ${to}`);
} finally {
  await hold.release();
}

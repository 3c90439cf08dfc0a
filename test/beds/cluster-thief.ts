/**
 * A third host that wants a disk, and tries all the time: a program that knows the cluster's locks alone. Its arguments are
 * the configuration and the disk; when its input ends it says what became of it.
 */
import { argv, stdin, stdout } from 'node:process';
import { isHoldfastError } from '../../src/errors.js';
import { openManager } from '../../src/index.js';

const [, , configuration = '', disk = ''] = argv;
const manager = openManager({ driver: 'etcd', configuration });
let over = false;
stdin.on('end', () => (over = true)).resume();
let tries = 0;
let got = 0;
const answers = new Set<string>();
while (!over) {
  tries++;
  try {
    const hold = await manager.lock({ disks: [disk] }, { explain: false, allowUnlocked: true });
    got++;
    await hold.release();
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    answers.add(error.code);
  }
  if (tries === 1) stdout.write('trying\n');
}
await manager.close();
stdout.write(`${JSON.stringify({ tries, got, answers: [...answers] })}\n`);

/**
 * Starts a guest under the locks of its domain, adds a disk while it runs, and stops it if a lock is lost.
 *
 *   node start-a-guest.mjs web1.xml extra.img COMMAND [ARGUMENT...]
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { isHoldfastError, openManager } from 'holdfast';

const [xmlFile, extraDisk, command, ...args] = process.argv.slice(2);
if (command === undefined) {
  console.error('usage: node start-a-guest.mjs DOMAIN.xml EXTRA-DISK COMMAND [ARGUMENT...]');
  process.exit(64);
}

const manager = openManager();
try {
  const hold = await manager.lock({ xml: await readFile(xmlFile, 'utf8'), xmlFile });
  const guest = hold.spawn(command, args, { stdio: 'inherit' });
  // Fails if there is no such command.
  await once(guest, 'spawn');
  const ended = once(guest, 'exit');
  hold.signal.addEventListener('abort', () => guest.kill('SIGKILL'));

  await hold.extend({ disks: [extraDisk] });
  console.log(`held: ${hold.requests.map(({ resource }) => resource.label).join(', ')}`);
  await hold.shrink([extraDisk]);

  await ended;
  await hold.release();
} catch (error) {
  if (isHoldfastError(error)) {
    console.error(`${error.message}\n${error.remedy}`);
    process.exitCode = error.exitCode;
  } else if (error.code === 'ENOENT') {
    console.error(`there is no ${error.path}: install it, or name another`);
    process.exitCode = error.syscall?.startsWith('spawn') ? 127 : 66;
  } else throw error;
} finally {
  await manager.close();
}

/** Which hold of the lock daemon a command line names, and what is said when it was changed. */
import { HoldfastError, isHoldfastError } from '../errors.js';
import { openDaemon, type DaemonClient, type DaemonHold, type ListedHold } from '../index.js';
import { printable } from '../printable.js';
import { managerFrom } from './manager-from-options.js';
import type { OptionValues } from './parse-arguments.js';
import { writeError, writeOut } from './write.js';

export interface NamedHold {
  readonly daemon: DaemonClient;
  readonly hold: DaemonHold;
}

export function daemonFrom(options: OptionValues): Promise<DaemonClient> {
  const socket = options.text('socket');
  const configuration = options.text('config');
  return openDaemon({
    ...(socket === undefined ? {} : { socket }),
    ...(configuration === undefined ? {} : { configuration }),
  });
}

/**
 * The hold of an id, guest name, uuid or pid.
 * Throws `NO_SUCH_HOLD`; `USAGE` if several are meant; `UNSUPPORTED` if it is kept by its own processes and no daemon's.
 */
export async function namedHold(options: OptionValues, word: string): Promise<NamedHold> {
  const daemon = await daemonFrom(options);
  let holds: readonly DaemonHold[];
  try {
    holds = await daemon.holds();
  } catch (error) {
    if (isHoldfastError(error, 'DRIVER_FAILED')) await requireNotItsOwn(options, word);
    throw error;
  }
  const [hold, ...others] = matching(holds, word);
  if (hold === undefined) {
    await requireNotLibvirts(daemon, word);
    await requireNotItsOwn(options, word);
    throw new HoldfastError('NO_SUCH_HOLD', `holdfastd at ${daemon.socket} has no hold '${word}'`);
  }
  if (others.length === 0) return { daemon, hold };
  const ids = [hold, ...others].map(({ id }) => id).join(', ');
  throw new HoldfastError('USAGE', `'${word}' has several holds`, { remedy: `Name one of them: ${ids}.` });
}

function matching<One extends Pick<ListedHold, 'id' | 'owner'>>(
  holds: readonly One[],
  word: string,
): readonly One[] {
  const byId = holds.filter(({ id }) => id === word);
  if (byId.length > 0) return byId;
  return holds.filter(
    ({ owner: { name, uuid, pid } }) => name === word || uuid === word.toLowerCase() || String(pid) === word,
  );
}

/** What a guest has from libvirt is not asked for here, though `holdfast list` shows it. */
async function requireNotLibvirts(daemon: DaemonClient, word: string): Promise<void> {
  const owners = (await daemon.locks()).flatMap((lock) => lock.owners);
  const owner = owners.find(
    ({ name, uuid, pid }) => name === word || uuid === word.toLowerCase() || String(pid) === word,
  );
  if (owner === undefined) return;
  const message = `guest "${owner.name}" has its locks through libvirt, which takes them and gives them back by itself`;
  throw new HoldfastError('UNSUPPORTED', message, {
    remedy: `Tell libvirt: virsh suspend ${owner.name} and virsh resume, attach-disk and detach-disk, destroy.`,
  });
}

/** A command keeps what it locked itself: nobody can give it anything more, or take something away. */
async function requireNotItsOwn(options: OptionValues, word: string): Promise<void> {
  const manager = managerFrom(options);
  try {
    const holds = (await manager.holds()).filter(({ drivers }) => !drivers.includes('holdfastd'));
    const [own] = matching(holds, word);
    if (own === undefined) return;
    const { id, drivers, processes } = own;
    const pids = processes.map(({ pid }) => pid).join(', ');
    const message = `hold ${id} is kept by process ${pids} itself (driver ${drivers.join(', ')}), and by no lock daemon: it ends with the process, and cannot be changed before`;
    throw new HoldfastError('UNSUPPORTED', message, {
      remedy: 'Start the guest with --driver holdfastd to change what it holds while it runs.',
    });
  } finally {
    await manager.close();
  }
}

/** A hold after a change: `--json` prints it; new notes stand on stderr. */
export function sayHold(hold: DaemonHold, before: DaemonHold, options: OptionValues): void {
  if (options.has('json')) {
    writeOut(`${JSON.stringify(hold, null, 2)}\n`);
    return;
  }
  const news = hold.notes.filter((note) => !before.notes.includes(note));
  writeError(news.map((note) => `holdfast: ${printable(note)}\n`).join(''));
}

/**
 * What libvirt has locked through the lock daemon looks, from /proc, like a lock of the daemon and its keeper. Which guest it
 * is for, the daemon knows.
 */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { DaemonLock } from '../daemon-client/daemon-answers.js';
import { runtimeDirectory } from '../system/runtime-directory.js';
import { modes, type Holder } from '../vocabulary.js';

export type ListLocks = () => Promise<readonly DaemonLock[]>;

/** The daemon answers in some milliseconds; one that hangs must not keep a refusal from being told. */
const answerMsMax = 2_000;

/** Whether a holder is a lock daemon or its keeper, which hold nothing for themselves. */
export function isLockDaemon({ program, guest }: Holder): boolean {
  return program === 'holdfastd' && guest === undefined;
}

/** systemd, which keeps the daemon's descriptors in its store: the same locks once more, and nobody's else. */
export function isServiceManager({ program, guest }: Holder): boolean {
  return program === 'systemd' && guest === undefined;
}

/** The same holders, with guests in the place of the daemon and its keeper, as the daemon of this user tells; does not throw. */
export async function withGuestsOfDaemon(holders: readonly Holder[]): Promise<readonly Holder[]> {
  const locks = async (): Promise<readonly DaemonLock[]> => {
    const { DaemonClient } = await import('../daemon-client/daemon-client.js');
    const daemon = new DaemonClient(join(runtimeDirectory(), 'api.sock'));
    return daemon.locks(AbortSignal.timeout(answerMsMax));
  };
  return withLockedGuests(holders, () => locks().catch(() => []), isLockDaemon);
}

/** The same holders, with the guests of `locks` in the place of those for which `isDaemon` says yes. */
export async function withLockedGuests(
  holders: readonly Holder[],
  locks: ListLocks,
  isDaemon: (holder: Holder) => boolean,
): Promise<readonly Holder[]> {
  const daemons = [...holders.filter(isDaemon), ...holders.filter(isServiceManager)];
  const [daemon] = daemons;
  if (daemon === undefined) return holders;
  const evidence = daemons.flatMap((one) => one.evidence);
  const paths = new Set(evidence.flatMap((line) => openPath(line) ?? []));
  const found = (await locks()).filter((lock) => paths.has(pathOf(lock)) || paths.has(realPathOf(lock)));
  const others = holders.filter((holder) => !daemons.includes(holder));
  // Several processes that keep one lock.
  if (found.length === 0) return [{ ...daemon, ...untilItServes(daemon), evidence }, ...others];
  const words = await import('../holders/find-holders.js');
  const guests = found.flatMap((lock) => guestsOf(lock, evidence, words));
  const seen = (guest: Holder): Holder | undefined => others.find(({ pid }) => pid === guest.pid);
  return [
    ...guests.map((guest) => joined(guest, seen(guest))),
    ...others.filter(({ pid }) => guests.every((guest) => guest.pid !== pid)),
  ];
}

/** systemd alone has it while its service is started again; for a remedy it is no program that could be stopped. */
function untilItServes(holder: Holder): Pick<Holder, 'remedy'> {
  return isServiceManager(holder)
    ? {
        remedy: 'it keeps the lock for a service that is being started: systemctl status holdfastd says more',
      }
    : {};
}

/** A guest that is also seen to use the disk itself. */
function joined(guest: Holder, seen: Holder | undefined): Holder {
  if (seen === undefined) return guest;
  const refused = new Set([...(guest.refuses ?? []), ...(seen.refuses ?? [])]);
  return {
    ...seen,
    ...guest,
    refuses: modes.filter((mode) => refused.has(mode)),
    through: [...new Set([...guest.through, ...seen.through])],
    evidence: [...seen.evidence, ...guest.evidence],
  };
}

function guestsOf(
  { owners, mode, since }: DaemonLock,
  evidence: readonly string[],
  { describeProcess, guestRemedy, refusedByMode }: typeof import('../holders/find-holders.js'),
): Holder[] {
  return owners.map(({ name, uuid, pid, startTime }) => {
    const running = describeProcess(pid);
    return {
      guest: name,
      uuid,
      ...(running === undefined ? {} : { program: running.program }),
      pid,
      startTime,
      ...(running?.user === undefined ? {} : { user: running.user }),
      host: 'this host',
      since,
      mode,
      refuses: refusedByMode(mode),
      through: ['libvirt, through holdfastd'],
      evidence,
      remedy: guestRemedy(name, running?.libvirt ?? usualLibvirt(), running?.user),
    };
  });
}

/** Each libvirt has the lock daemon of its own user. */
function usualLibvirt(): 'system' | 'session' {
  return process.geteuid?.() === 0 ? 'system' : 'session';
}

/** `/proc/12/fd/3 -> /a/b.img (read-write)`. */
function openPath(evidence: string): string | undefined {
  return /^\/proc\/\d+\/fd\/\d+ -> (?<path>.*) \([a-z-]+\)$/.exec(evidence)?.groups?.['path'];
}

function pathOf({ lockspace, name }: DaemonLock): string {
  return lockspace === '' ? name : `${lockspace}/${name}`;
}

function realPathOf(lock: DaemonLock): string {
  try {
    return realpathSync(pathOf(lock));
  } catch {
    return pathOf(lock);
  }
}

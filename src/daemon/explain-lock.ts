/** Who has a file that somebody outside the daemon has locked, in a few words, for libvirt's error message. */
import type { Holder } from '../index.js';
import type { DaemonOptions } from './options.js';

/** libvirt waits for the answer, and with it whoever starts the guest. */
const lookMsMax = 1_000;
/** More names are no help in one line. */
const holdersMax = 2;

/** `holdfastd (fcntl)`: see `Holder.through`. */
const ofTheApi = /^holdfastd\b/;

/** Undefined: nobody was found in time. `asker` is the process that wants the lock: a guest has its own disk open before it has. */
export async function explainLock(
  path: string,
  asker: number,
  { config, drivers }: Pick<DaemonOptions, 'config' | 'drivers'>,
): Promise<string | undefined> {
  const signal = AbortSignal.timeout(lookMsMax);
  const timeOver = new Promise<undefined>((resolve) =>
    signal.addEventListener('abort', () => resolve(undefined), { once: true }),
  );
  const look = async (): Promise<string | undefined> => {
    const { who } = await import('../index.js');
    const uses = await who(
      { disks: [{ path }] },
      {
        signal,
        ...(config === undefined ? {} : { configuration: config }),
        driver: drivers,
      },
    );
    const inTheWay = uses
      .filter(({ resource }) => resource.path === path || resource.realPath === path)
      .flatMap(({ holders }) => holders)
      // It has its own disk open already; what the API holds in its name is another matter.
      .filter(({ pid, through }) => pid !== asker || through.some((way) => ofTheApi.test(way)))
      .filter(({ refuses }) => refuses === undefined || refuses.includes('exclusive'));
    const named = [...new Set(inTheWay.map(holderInWords))];
    const more = named.length > holdersMax ? ` and ${named.length - holdersMax} more` : '';
    return named.length === 0 ? undefined : named.slice(0, holdersMax).join(', ') + more;
  };
  return Promise.race([look().catch(() => undefined), timeOver]);
}

/** `guest "web1" (qemu-system-x86_64, pid 5783) on this host since 2025-01-01T13:18:51Z`. */
export function holderInWords({ guest, name, program, pid, host, since }: Holder): string {
  const process = [...(program === undefined ? [] : [program]), ...(pid === undefined ? [] : [`pid ${pid}`])];
  const who = guest === undefined ? name : `guest "${guest}"`;
  return [
    who ?? (process.length === 0 ? 'somebody' : process.join(', ')),
    ...(who === undefined || process.length === 0 ? [] : [`(${process.join(', ')})`]),
    ...(host === undefined ? [] : [`on ${host}`]),
    ...(since === undefined ? [] : [`since ${since}`]),
  ].join(' ');
}

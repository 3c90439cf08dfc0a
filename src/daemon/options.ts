/** What the daemon is to do: the command line, over the table `[daemon]` of the configuration, over what is usual. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { HoldfastError } from '../errors.js';
import { readConfiguration, type LogLevel } from '../index.js';
import { nearestWord } from '../nearest-word.js';
import { runtimeDirectory } from '../system/runtime-directory.js';
import { daemonOptions } from './option-table.js';

export interface DaemonOptions {
  /** A configuration file instead of the usual ones. */
  readonly config?: string;
  /** Of holds through the API. */
  readonly drivers: readonly string[];
  readonly lockdSocket: string;
  readonly apiSocket: string;
  /**
   * virtlockd's own pid file, which is held as virtlockd holds it: an unprivileged libvirt starts a virtlockd of its own
   * where none answers. Undefined: its place was not taken.
   */
  readonly pidFile?: string;
  readonly group?: string;
  readonly takeOver: boolean;
  readonly logLevel: LogLevel;
  /** What happens to a guest of libvirt whose lock in a cluster is lost. */
  readonly onLost: 'poweroff' | 'pause' | 'ignore';
  /** A watchdog device that is fed while no guest outlives its lock. */
  readonly watchdog?: string;
}

/** The words of a command line: what it asks for besides serving. */
export interface DaemonCommand {
  readonly wish: 'help' | 'version' | 'check' | 'serve';
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
}

/** Throws `USAGE`. */
export function parseDaemonCommand(argv: readonly string[]): DaemonCommand {
  const config = Object.fromEntries(
    daemonOptions.map(({ name, short, value }) => [
      name,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  let values: DaemonCommand['values'];
  try {
    ({ values } = parseArgs({ args: [...argv], options: config }) as { values: DaemonCommand['values'] });
  } catch (error) {
    throw usage(error instanceof Error ? (error.message.split('. ', 1)[0] ?? '') : String(error));
  }
  for (const { name, choices, value } of daemonOptions) {
    const given = values[name];
    if (given === '') throw usage(`--${name} needs a value`, `Write: --${name}=${value}`);
    if (typeof given !== 'string' || choices?.includes(given) !== false) continue;
    const near = nearestWord(given, choices);
    throw usage(
      `--${name} cannot be ${given}`,
      near === undefined ? `It is one of ${choices.join(', ')}.` : `Did you mean ${near}?`,
    );
  }
  const wish = (['help', 'version', 'check'] as const).find((one) => values[one] === true) ?? 'serve';
  return { wish, values };
}

/** Throws `USAGE` and `CONFIG`. */
export async function readDaemonOptions(
  { values }: DaemonCommand,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<DaemonOptions> {
  const config = text(values['config']);
  const configuration = await readConfiguration(config === undefined ? {} : { file: config });
  const { daemon = {} } = configuration;
  const folder = text(values['socket-dir']);
  const inFolder = (name: string): string | undefined =>
    folder === undefined ? undefined : join(folder, name);
  const usual = libvirtPlaces(environment);
  const lockdSocket =
    text(values['lockd-socket']) ?? inFolder('virtlockd-sock') ?? daemon.lockdSocket ?? usual.socket;
  const apiSocket =
    text(values['api-socket']) ??
    inFolder('api.sock') ??
    daemon.apiSocket ??
    join(runtimeDirectory(environment), 'api.sock');
  for (const path of [lockdSocket, apiSocket]) {
    if (!path.startsWith('/'))
      throw usage(`${path} is no absolute path`, 'Write the whole path of a socket.');
  }
  if (lockdSocket === apiSocket) throw usage(`both sockets would be ${apiSocket}`);
  const drivers = text(values['driver'])
    ?.split(',')
    .map((name) => name.trim());
  if (drivers?.includes('') === true) throw usage('--driver has an empty name', 'Join names by commas.');
  const group = text(values['group']) ?? daemon.group;
  return {
    ...(config === undefined ? {} : { config }),
    drivers: ownDrivers(drivers ?? daemon.drivers, configuration.drivers),
    lockdSocket,
    apiSocket,
    ...(lockdSocket === usual.socket ? { pidFile: usual.pidFile } : {}),
    ...(group === undefined ? {} : { group }),
    takeOver: values['take-over'] === true,
    logLevel: (text(values['log-level']) as LogLevel | undefined) ?? daemon.logLevel ?? 'info',
    onLost: (text(values['on-lost']) as DaemonOptions['onLost'] | undefined) ?? daemon.onLost ?? 'poweroff',
    ...(daemon.watchdog === undefined ? {} : { watchdog: daemon.watchdog }),
  };
}

/** Drivers that ask a lock daemon: this one would wait for itself. */
const askingDrivers: readonly string[] = ['holdfastd', 'virtlockd'];

/** Throws `CONFIG` for one that was chosen for the daemon; what everybody else uses may well be the daemon. */
function ownDrivers(chosen: readonly string[] | undefined, usual: readonly string[] = []): readonly string[] {
  const asking = chosen?.find((name) => askingDrivers.includes(name));
  if (asking !== undefined) {
    throw new HoldfastError(
      'CONFIG',
      `the daemon cannot lock with the driver ${asking}, which asks a lock daemon`,
      {
        remedy: 'Name another one, such as fcntl.',
      },
    );
  }
  const others = usual.filter((name) => !askingDrivers.includes(name));
  return chosen ?? (others.length > 0 ? others : ['fcntl']);
}

/** Where virtlockd listens, and its pid file (libvirt's virtlockd(8), "FILES"). */
export function libvirtPlaces(
  environment: NodeJS.ProcessEnv,
  uid = process.geteuid?.() ?? 0,
): { readonly socket: string; readonly pidFile: string } {
  if (uid === 0) return { socket: '/run/libvirt/virtlockd-sock', pidFile: '/run/virtlockd.pid' };
  const session = environment['XDG_RUNTIME_DIR'];
  const cache = environment['XDG_CACHE_HOME'];
  // As GLib's g_get_user_runtime_dir, which libvirt asks.
  const folder =
    session?.startsWith('/') === true
      ? session
      : cache?.startsWith('/') === true
        ? cache
        : join(environment['HOME'] ?? homedir(), '.cache');
  return { socket: join(folder, 'libvirt/virtlockd-sock'), pidFile: join(folder, 'libvirt/virtlockd.pid') };
}

function text(value: string | boolean | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function usage(message: string, remedy = 'See holdfastd --help.'): HoldfastError {
  return new HoldfastError('USAGE', message, { remedy });
}

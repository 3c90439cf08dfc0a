/** The table `[daemon]` of the configuration: what `holdfastd` does where its command line says nothing. */

/** libvirt's guests are started again by nobody but libvirt: there is no restart. */
const lossActions = ['poweroff', 'pause', 'ignore'] as const;
const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface DaemonSettings {
  /** `drivers`: which ones its API locks with, in order; default: those of the whole configuration. */
  readonly drivers?: readonly string[];
  /** `lockd_socket`: where libvirt looks for its lock daemon. Absolute. */
  readonly lockdSocket?: string;
  /** `api_socket`: absolute. */
  readonly apiSocket?: string;
  /** `group`: its members may look, and lock nothing. */
  readonly group?: string;
  /** `log_level`. */
  readonly logLevel?: LogLevel;
  /** `on_lost`: what happens to libvirt's guests, and to owners of the API's holds, whose lock in a cluster is lost. */
  readonly onLost?: (typeof lossActions)[number];
  /** `watchdog`: a watchdog device. Absolute. */
  readonly watchdog?: string;
}

type Reading = { -readonly [Key in keyof DaemonSettings]: DaemonSettings[Key] };

interface DaemonKey {
  /** What the value has to be, for the message. */
  readonly expects: string;
  /** Puts the value into the settings; false: it is wrong. */
  readonly read: (into: Reading, value: unknown) => boolean;
}

const path = (put: (into: Reading, value: string) => void): DaemonKey => ({
  expects: 'an absolute path',
  read: (into, value) => {
    const good = typeof value === 'string' && value.startsWith('/') && !value.includes('\0');
    if (good) put(into, value);
    return good;
  },
});

const daemonKeys: Readonly<Record<string, DaemonKey>> = {
  drivers: {
    expects: 'a list of drivers\' names, such as ["fcntl"]',
    read: (into, value) => {
      const good = Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string');
      if (good) into.drivers = value;
      return good;
    },
  },
  lockd_socket: path((into, value) => (into.lockdSocket = value)),
  api_socket: path((into, value) => (into.apiSocket = value)),
  group: {
    expects: "a group's name",
    read: (into, value) => typeof value === 'string' && value !== '' && Boolean((into.group = value)),
  },
  log_level: {
    expects: `one of ${logLevels.join(', ')}`,
    read: (into, value) => {
      const level = logLevels.find((one) => one === value);
      if (level !== undefined) into.logLevel = level;
      return level !== undefined;
    },
  },
  on_lost: {
    expects: `one of ${lossActions.join(', ')}`,
    read: (into, value) => {
      const action = lossActions.find((one) => one === value);
      if (action !== undefined) into.onLost = action;
      return action !== undefined;
    },
  },
  watchdog: path((into, value) => (into.watchdog = value)),
};

export const daemonKeyNames: readonly string[] = Object.keys(daemonKeys);

/** What is wrong with one key of the table; `expects` is missing where there is no such key. */
export interface WrongDaemonKey {
  readonly key: string;
  readonly expects?: string;
}

/** Puts a table over what is known already, key by key; or says what is wrong with it. */
export function readDaemonSettings(
  table: Readonly<Record<string, unknown>>,
  known: DaemonSettings = {},
): DaemonSettings | { readonly wrong: WrongDaemonKey } {
  const into: Reading = { ...known };
  for (const [key, value] of Object.entries(table)) {
    const entry = Object.hasOwn(daemonKeys, key) ? daemonKeys[key] : undefined;
    if (entry === undefined) return { wrong: { key } };
    if (!entry.read(into, value)) return { wrong: { key, expects: entry.expects } };
  }
  return into;
}

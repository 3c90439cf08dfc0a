/** The options of `holdfastd` and of `holdfast serve`, which are the same program. A test compares them with the command's table. */

export interface DaemonOption {
  readonly name: string;
  readonly short?: string;
  /** What stands for the value in the help; an option without one is on or off. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly help: string;
}

export const daemonOptions: readonly DaemonOption[] = [
  { name: 'config', value: 'FILE', help: 'Read this configuration (TOML) and no other.' },
  {
    name: 'driver',
    value: 'LIST',
    help: 'The drivers that holds of the API are locked with, in this order, joined by commas (default: fcntl). One that reaches a cluster locks for libvirt too.',
  },
  {
    name: 'on-lost',
    value: 'ACTION',
    choices: ['poweroff', 'pause', 'ignore'],
    help: 'What happens to guests, and owners of holds, whose lock in a cluster is lost (default: poweroff).',
  },
  {
    name: 'lockd-socket',
    value: 'PATH',
    help: "Where libvirt looks for its lock daemon (default: virtlockd's own place).",
  },
  {
    name: 'api-socket',
    value: 'PATH',
    help: 'Where everybody else does (default: api.sock in the runtime directory).',
  },
  {
    name: 'socket-dir',
    value: 'DIRECTORY',
    help: 'Both sockets in this directory: virtlockd-sock and api.sock.',
  },
  { name: 'group', value: 'NAME', help: 'Members of this group may look, and lock nothing.' },
  {
    name: 'take-over',
    help: 'Take the sockets and all that is held over from the holdfastd that runs, and let it end.',
  },
  {
    name: 'log-level',
    value: 'LEVEL',
    choices: ['fatal', 'error', 'warn', 'info', 'debug', 'trace'],
    help: 'How much is logged (default: info).',
  },
  { name: 'check', help: 'Check configuration and options, print what would be done, and start nothing.' },
  { name: 'json', help: 'Print errors as data.' },
  { name: 'help', short: 'h', help: 'Print this help.' },
  { name: 'version', short: 'V', help: 'Print the version.' },
];

export function renderDaemonHelp(): string {
  const rows = daemonOptions.map(({ name, short, value, choices, help }) => {
    const head = `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : `=${value}`}`;
    const some = choices === undefined ? '' : ` One of ${choices.join(', ')}.`;
    return `  ${head.padEnd(28)}${help}${some}\n`;
  });
  return [
    'Usage: holdfastd [OPTIONS]\n\n',
    'Keeps the locks of guests: for libvirt in place of virtlockd, and for everybody else through its API.\n',
    'What it holds outlives it: SIGHUP, a crash and a kill lose no lock. SIGTERM ends it, and its locks with it.\n',
    '\nOptions:\n',
    ...rows,
  ].join('');
}

/**
 * What programs that are known do with a disk, and how each is ended: qemu-img(1), qemu-nbd(8),
 * qemu-storage-daemon(1), nbdkit(1). From the command line, which is the program's own word: for people only.
 */

export interface ProgramWork {
  /** In words, of a disk that it can only read. */
  readonly reading: string;
  /** In words, of a disk that it can write. */
  readonly writing: string;
  /** How to end it, where there is a better way than to kill it. */
  readonly remedy?: string;
}

/** Undefined: nothing is known of this program. */
export function programWork(program: string, argv: readonly string[]): ProgramWork | undefined {
  switch (program) {
    case 'qemu-img':
      return qemuImg(argv);
    case 'qemu-nbd':
      return qemuNbd(argv);
    case 'qemu-storage-daemon':
    case 'qemu-storage-da': // The kernel's name has 15 bytes.
      return storageDaemon(argv);
    case 'nbdkit':
      return nbdkit(argv);
    case 'qemu-io':
      return { reading: 'looks at it by hand (qemu-io)', writing: 'reads and writes it by hand (qemu-io)' };
    default:
      return undefined;
  }
}

const both = (words: string): ProgramWork => ({ reading: words, writing: words });

/** By subcommand: of a disk that is read, of one that is written. */
const imageWork: Readonly<Record<string, readonly [reading: string, writing: string]>> = {
  amend: ['amends its options', 'amends its options'],
  bench: ['measures its speed', 'measures its speed, writing'],
  bitmap: ['reads its bitmaps', 'changes its bitmaps'],
  check: ['checks it', 'checks and repairs it'],
  commit: ['commits changes from it', 'commits changes from an overlay to its base'],
  compare: ['compares it', 'compares it'],
  convert: ['copies from it', 'copies into it'],
  create: ['creates an overlay of it', 'creates it'],
  dd: ['copies from it', 'copies into it'],
  info: ['reads its header', 'reads its header'],
  map: ['reads where its data is', 'reads where its data is'],
  measure: ['measures its size', 'measures its size'],
  rebase: ['reads it as a base', 'gives it another base'],
  resize: ['resizes it', 'resizes it'],
  snapshot: ['lists its snapshots', 'changes its snapshots'],
};

function qemuImg(argv: readonly string[]): ProgramWork {
  const command = firstWord(argv, ['-T', '--trace']);
  const work = command !== undefined && Object.hasOwn(imageWork, command) ? imageWork[command] : undefined;
  if (command === undefined || work === undefined) return both('works on it (qemu-img)');
  const [reading, writing] = work;
  const named = (words: string): string => `${words} (qemu-img ${command})`;
  return { reading: named(reading), writing: named(writing), remedy: 'wait for qemu-img to end' };
}

function qemuNbd(argv: readonly string[]): ProgramWork {
  const device = optionValue(argv, '-c', '--connect');
  if (device !== undefined) {
    return {
      reading: `shows it as ${device} (qemu-nbd)`,
      writing: `shows it as ${device} (qemu-nbd)`,
      remedy: `umount what is mounted from ${device}, then qemu-nbd --disconnect ${device}`,
    };
  }
  const socket = optionValue(argv, '-k', '--socket');
  const where = socket ?? `port ${optionValue(argv, '-p', '--port') ?? '10809'}`;
  return both(`exports it over NBD at ${where} (qemu-nbd)`);
}

function storageDaemon(argv: readonly string[]): ProgramWork {
  const types = argv
    .flatMap((argument, index) =>
      argument === '--export' ? [argv[index + 1] ?? ''] : (/^--export=(.*)$/s.exec(argument)?.[1] ?? []),
    )
    .map(
      (value) => /"type"\s*:\s*"([\w-]+)"/.exec(value)?.[1] ?? /(?:^|,)(?:type=)?([\w-]+)/.exec(value)?.[1],
    )
    .filter((type) => type !== undefined);
  const how = types.length === 0 ? 'keeps it open' : `exports it over ${[...new Set(types)].join(', ')}`;
  return both(`${how} (qemu-storage-daemon)`);
}

/** nbdkit's options that take a value as a word of their own. */
const nbdkitValues =
  '-D -e --exportname --export-name --export --filter -g --group -i --ip-addr --ipaddr --log -m --mask-handshake -P --pidfile --pid-file -p --port --run --selinux-label -t --threads --tls --tls-certificates --tls-psk -u --user -U --unix'.split(
    ' ',
  );

function nbdkit(argv: readonly string[]): ProgramWork {
  const plugin = firstWord(argv, nbdkitValues);
  return both(`serves it over NBD (nbdkit${plugin === undefined ? '' : ` ${plugin}`})`);
}

/** The first argument that is no option; `values`: options that are followed by a value. */
function firstWord(argv: readonly string[], values: readonly string[]): string | undefined {
  for (let index = 1; index < argv.length; index++) {
    const argument = argv[index] ?? '';
    if (!argument.startsWith('-') || argument === '-') return argument === '' ? undefined : argument;
    if (values.includes(argument)) index++;
  }
  return undefined;
}

function optionValue(argv: readonly string[], short: string, long: string): string | undefined {
  for (const [index, argument] of argv.entries()) {
    if (index === 0) continue;
    if (argument === short || argument === long) return argv[index + 1];
    if (argument.startsWith(`${long}=`)) return argument.slice(long.length + 1);
    // `-c/dev/nbd0`; two dashes begin a long option.
    if (argument.startsWith(short) && !argument.startsWith('--')) return argument.slice(short.length);
  }
  return undefined;
}

/** What a QEMU's command line tells of its guest: qemu(1), `-name` and `-uuid`. */

export interface QemuGuest {
  readonly name?: string;
  /** 36 lower-case characters with dashes. */
  readonly uuid?: string;
  /** The libvirt that started it: the host's, or that of a user. */
  readonly libvirt?: 'system' | 'session';
  /** It is libguestfs's appliance: the guest is a program's tool, and not one of the user's. */
  readonly appliance: boolean;
}

/** QEMU's emulators, under the names that distributions give them. Its tools (qemu-img, qemu-nbd) run no guest. */
export function isQemuProgram(program: string): boolean {
  // The last is the kernel's short name of the first, for processes whose program cannot be seen.
  return /^(qemu-system-[\w-]+|qemu-kvm|kvm|qemu-system-?)$/.test(program);
}

/** Whether a program is of QEMU, the tools included: they all take QEMU's image locks. */
export function isOfQemu(program: string): boolean {
  return isQemuProgram(program) || /^qemu-[\w-]+$/.test(program);
}

/** Reads the guest from the arguments; the last of several options counts, as for QEMU. */
export function readGuest(argv: readonly string[]): QemuGuest {
  let name: string | undefined;
  let uuid: string | undefined;
  for (const [index, argument] of argv.entries()) {
    const value = argv[index + 1];
    if (value === undefined || index === 0) continue;
    if (isOption(argument, 'name')) name = guestName(value) ?? name;
    if (isOption(argument, 'uuid') && uuidPattern.test(value)) uuid = value.toLowerCase();
  }
  return {
    ...(name === undefined ? {} : { name }),
    ...(uuid === undefined ? {} : { uuid }),
    ...(isOfLibvirt(argv) ? { libvirt: libvirtOf(argv) } : {}),
    // The port on which libguestfs's daemon inside talks to its library (guestfs-internals(1)).
    appliance: argv.some((argument) => argument.includes('org.libguestfs.channel.0')),
  };
}

/** libvirt gives the monitor that it talks to QEMU by this name, in every version. */
function isOfLibvirt(argv: readonly string[]): boolean {
  return argv.some((argument) => /\bid["=:\s]+charmonitor\b/.test(argument));
}

/**
 * A user's own libvirt keeps the guest's files in the user's folders (libvirt.org, "Connection URIs"). The host's
 * keeps them below /var/lib/libvirt; where no path tells, it is the host's.
 */
function libvirtOf(argv: readonly string[]): 'system' | 'session' {
  const own = /\/\.(?:config|cache)\/libvirt\/|\/run\/user\/\d+\/libvirt\//;
  return argv.some((argument) => argument.includes('/domain-') && own.test(argument)) ? 'session' : 'system';
}

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** QEMU takes one dash or two. */
function isOption(argument: string, option: string): boolean {
  return argument === `-${option}` || argument === `--${option}`;
}

/** `NAME`, `NAME,debug-threads=on` or `guest=NAME,...`; a comma within a name is written twice. */
function guestName(value: string): string | undefined {
  const parts = value
    .replaceAll(',,', '\0')
    .split(',')
    .map((part) => part.replaceAll('\0', ','));
  const named = parts.find((part) => part.startsWith('guest='));
  if (named !== undefined) return named.slice('guest='.length) || undefined;
  const [first = ''] = parts;
  // Without a key, the first part is the name.
  return first === '' || first.includes('=') ? undefined : first;
}

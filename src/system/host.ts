/** What names this host: for programs the machine-id, for people the host's name. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { HoldfastError } from '../errors.js';

const machineIdPattern = /^[0-9a-f]{32}$/;
const known = new Map<string, string>();
/** Who renames a host while programs run finds the old name in their records. */
let name: string | undefined;

function readLine(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

function machineIdIn(path: string): string | undefined {
  const id = readLine(path).replaceAll('-', '');
  return machineIdPattern.test(id) && !/^0+$/.test(id) ? id : undefined;
}

/**
 * 32 hexadecimal digits that are this host's alone: `/etc/machine-id` (machine-id(5)), else D-Bus's copy of it,
 * else the kernel's boot id, which is new at each boot: enough for locks, which do not outlive a boot either.
 * `root` is where `/etc`, `/var` and `/proc` stand. Throws `CONFIG` if none can be read.
 */
export function machineId(root = '/'): string {
  const before = known.get(root);
  if (before !== undefined) return before;
  const found =
    machineIdIn(`${root}/etc/machine-id`) ??
    machineIdIn(`${root}/var/lib/dbus/machine-id`) ??
    machineIdIn(`${root}/proc/sys/kernel/random/boot_id`);
  if (found === undefined) {
    throw new HoldfastError(
      'CONFIG',
      'this host has no id: neither /etc/machine-id nor a boot id can be read',
      {
        remedy: 'Run `systemd-machine-id-setup`, or `dbus-uuidgen --ensure=/etc/machine-id`.',
      },
    );
  }
  known.set(root, found);
  return found;
}

/**
 * The running kernel's id, made at each boot (random(4), boot_id): the same in all containers of a host. Empty if it
 * cannot be read. `root` is where `/proc` stands.
 */
export function bootId(root = '/'): string {
  return readLine(`${root}/proc/sys/kernel/random/boot_id`);
}

/** What gethostname(2) gives; from /proc, because loading node:os costs more of a start. */
export function hostName(): string {
  return (name ??= readLine('/proc/sys/kernel/hostname') || hostname());
}

/** When this host booted, in seconds since 1970 (`btime` of proc(5), /proc/stat). */
export function bootTime(proc = '/proc'): number {
  const match = /^btime (\d+)$/m.exec(readFileSync(`${proc}/stat`, 'utf8'));
  if (match === null) throw new HoldfastError('INTERNAL', `${proc}/stat has no line btime`);
  return Number(match[1]);
}

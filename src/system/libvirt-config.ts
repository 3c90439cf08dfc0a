/** libvirt's own configuration files: where they stand, and what a line of them says. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where an unprivileged libvirt (`qemu:///session`) and the system's keep their files. */
export function libvirtDirectories(): readonly string[] {
  const config = process.env['XDG_CONFIG_HOME'];
  const home = config?.startsWith('/') === true ? config : join(homedir(), '.config');
  return process.geteuid?.() === 0 ? ['/etc/libvirt'] : ['/etc/libvirt', join(home, 'libvirt')];
}

/** The string that `key = "value"` gives; libvirt's files have one setting a line and `#` comments. */
export function libvirtSetting(text: string, key: string): string | undefined {
  const found = new RegExp(`^[ \\t]*${key}[ \\t]*=[ \\t]*(?:"([^"\\n]*)"|'([^'\\n]*)')`, 'm').exec(text);
  return found?.[1] ?? found?.[2];
}

/** The number that `key = 1` gives. */
export function libvirtNumber(text: string, key: string): number | undefined {
  const found = new RegExp(`^[ \\t]*${key}[ \\t]*=[ \\t]*(-?\\d+)`, 'm').exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** libvirt's own configuration files: where they stand, and what a line of them says. */
import { join } from 'node:path';
import { userConfiguration } from './user-configuration.js';

/** Where an unprivileged libvirt (`qemu:///session`) and the system's keep their files. */
export function libvirtDirectories(): readonly string[] {
  if (process.geteuid?.() === 0) return ['/etc/libvirt'];
  return ['/etc/libvirt', join(userConfiguration(), 'libvirt')];
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

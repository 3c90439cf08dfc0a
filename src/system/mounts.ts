/** The mount table of this process: `/proc/self/mountinfo`, as proc(5) describes it. */
import { readFileSync } from 'node:fs';

export interface Mount {
  /** `major:minor` in decimal. */
  readonly dev: string;
  /** Where it is mounted, unescaped. */
  readonly point: string;
  /** `ext4`, `nfs4`, `fuse.glusterfs`. */
  readonly type: string;
  /** `/dev/sda1`, `server:/export`. */
  readonly source: string;
  /** Options of the file system itself, not of this mount of it. */
  readonly options: readonly string[];
}

/** Mounts by mount point, each list in the order of the table. */
export type MountTable = ReadonlyMap<string, readonly Mount[]>;

/** Space, tab, newline, backslash and `#` stand in the table as a backslash and three octal digits. */
function unescape(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Reads the text of a mount table; lines that are not of its form are passed over. */
export function parseMounts(text: string): MountTable {
  const table = new Map<string, Mount[]>();
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    // The optional fields end with a lone dash; before it stand six fields at least.
    const dash = fields.indexOf('-', 6);
    const [, , dev, , point] = fields;
    const [type, source, options = ''] = dash === -1 ? [] : fields.slice(dash + 1);
    if (dev === undefined || point === undefined || type === undefined || source === undefined) continue;
    const mount: Mount = {
      dev,
      point: unescape(point),
      type: unescape(type),
      source: unescape(source),
      options: options.split(','),
    };
    const list = table.get(mount.point);
    if (list === undefined) table.set(mount.point, [mount]);
    else list.push(mount);
  }
  return table;
}

export function readMounts(proc = '/proc'): MountTable {
  return parseMounts(readFileSync(`${proc}/self/mountinfo`, 'utf8'));
}

/**
 * The mount that a path without symlinks is on: the longest mount point above it whose device is the file's; of
 * several on one point the last. A mount of another device can be hidden under a later one, so the device
 * decides. Where none has the device (btrfs and overlay give files a device number of their own) the longest
 * mount point does.
 */
export function mountOf(table: MountTable, realPath: string, dev: string): Mount | undefined {
  let fallback: Mount | undefined;
  for (let point = realPath; ; point = point.slice(0, Math.max(1, point.lastIndexOf('/')))) {
    const list = table.get(point);
    const found = list?.findLast((mount) => mount.dev === dev);
    if (found !== undefined) return found;
    fallback ??= list?.at(-1);
    if (point === '/' || !point.startsWith('/')) return fallback;
  }
}

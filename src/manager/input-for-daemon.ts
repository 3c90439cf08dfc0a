/** What a guest is made of, as the lock daemon's API takes it: it is in another folder, and reads nobody's standard input. */
import type { DaemonGuest } from '../daemon-client/daemon-answers.js';
import { parseDiskArgument, parseLeaseArgument } from '../input/parse-arguments.js';
import type { DiskInput, GuestParts } from './guest-input.js';

/**
 * Files are read, words are taken apart, and relative paths are of the current folder.
 * Throws `USAGE`, `NO_SUCH_FILE`, `NOT_READABLE`, `XML_LIMIT`.
 */
export async function inputForDaemon(parts: GuestParts): Promise<DaemonGuest> {
  const { xml = [], file = [], domain = [], disks = [], leases = [], connect, name, owner } = parts;
  const texts = [xml].flat();
  for (const path of [file].flat()) {
    const { readXmlText } = await import('../input/read-input.js');
    texts.push(await readXmlText(path));
  }
  const domains = [domain].flat();
  return {
    ...(texts.length === 0 ? {} : { xml: texts }),
    ...(domains.length === 0 ? {} : { domain: domains }),
    disks: disks.map(wholeDisk),
    leases: leases.map((lease) => {
      const { lockspace, key, path, offset } = typeof lease === 'string' ? parseLeaseArgument(lease) : lease;
      return { lockspace, key, offset, ...(path === undefined ? {} : { path }) };
    }),
    ...(connect === undefined ? {} : { connect }),
    ...(name === undefined ? {} : { name }),
    ...(owner === undefined ? {} : { owner }),
  };
}

function wholeDisk(disk: string | DiskInput): DiskInput {
  if (typeof disk === 'string') {
    const { source, mode, format } = parseDiskArgument(disk);
    if (source.type === 'file')
      return { path: source.path, mode, ...(format === undefined ? {} : { format }) };
    return { path: disk };
  }
  // Through the same reader: a mode is always written, so a colon in the path is no danger.
  const { source } = parseDiskArgument(`${disk.path}:${disk.mode ?? 'exclusive'}`);
  return source.type === 'file' ? { ...disk, path: source.path } : disk;
}

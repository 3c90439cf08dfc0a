/** What one image says of the files below and beside it. Only a format that somebody named is read. */
import { readBackingName, type BackingName } from './backing-name.js';
import { printable, type Seen } from './look-at-path.js';
import { withImage } from './open-image.js';
import { parseQcow2Header } from './qcow2-header.js';

export interface Below {
  /** Missing: nothing is below. */
  readonly backing?: BackingName;
  /**
   * Files with data of the image itself: an external data file, the extents of a vmdk. Each is a list of what its
   * name can mean: one of them exists at least.
   */
  readonly dataFiles: readonly (readonly BackingName[])[];
  /** Its data is in another file, and it does not say in which. */
  readonly unnamedData?: boolean;
  readonly notes: readonly string[];
}

export interface BelowOptions {
  readonly qemuImg: string;
}

const nothing: Below = { dataFiles: [], notes: [] };

/** Formats that have no backing file and no second file (QEMU's block drivers without `supports_backing`). */
const singleFormats: ReadonlySet<string> = new Set(
  'raw luks vdi vpc vhdx parallels dmg bochs cloop iso fat dir'.split(' '),
);

/** QEMU opens a data file's relative name from where it is started, libvirt from the image's folder: both count. */
function dataFileNames(name: string, path: string): BackingName[] {
  const here = readBackingName(name, path);
  if (here.kind !== 'path' || here.path === name || /^[^/]*:/.test(name)) return [here];
  const there = readBackingName(name, `${process.cwd()}/`);
  return there.kind === 'path' && there.path !== here.path ? [here, there] : [here];
}

function belowQcow2(seen: Seen): Below {
  const label = printable(seen.path);
  const header = withImage(seen, (readAt) => parseQcow2Header(readAt, label));
  if (header === undefined) {
    const note = `${label} is said to be qcow2 but does not begin like one: nothing below it is planned`;
    return { dataFiles: [], notes: [note] };
  }
  const { backing, dataFile } = header;
  const unnamed = dataFile !== undefined && dataFile.name === undefined;
  return {
    dataFiles: dataFile?.name === undefined ? [] : [dataFileNames(dataFile.name, seen.path)],
    notes: [],
    ...(unnamed ? { unnamedData: true } : {}),
    ...(backing === undefined ? {} : { backing: readBackingName(backing.name, seen.path, backing.format) }),
  };
}

/**
 * Reads what an image says. No format, or raw: it says nothing, whatever its bytes look like.
 * Throws `BAD_DATA` for a damaged qcow2 header, `NOT_READABLE`, `MOVED`.
 */
export async function belowImage(
  seen: Seen,
  format: string | undefined,
  options: BelowOptions,
): Promise<Below> {
  if (seen.storage === 'directory') return nothing;
  if (format === 'qcow2') return belowQcow2(seen);
  if (format === undefined || singleFormats.has(format)) return nothing;
  if (!/^[a-z][a-z0-9_-]{0,31}$/i.test(format)) {
    return { dataFiles: [], notes: [`${printable(seen.path)}: no such format: ${printable(format)}`] };
  }
  const { belowByQemuImg } = await import('./qemu-img-info.js');
  return belowByQemuImg(seen.path, format, options.qemuImg);
}

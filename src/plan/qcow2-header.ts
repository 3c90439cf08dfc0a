/**
 * What a qcow2 header says of other files: the backing file and an external data file. The layout is that of
 * QEMU's docs/interop/qcow2.txt. A header is untrusted: every length is bounded before it is believed.
 */
import { HoldfastError } from '../errors.js';
import { hasQcow2Magic } from './qcow2-magic.js';

/** The longest backing name that the format allows. */
export const backingNameBytesMax = 1023;
/** A data file's name has no limit in the format; Linux allows no longer path (PATH_MAX). */
const dataFileNameBytesMax = 4095;
/** QEMU keeps the format's name in 16 bytes, its end included. */
const formatNameBytesMax = 15;
/** The format defines 6 kinds of extension, and each comes once. */
export const extensionsMax = 256;

const headerBytesVersion2 = 72;
const headerBytesVersion3 = 104;
const clusterBitsMin = 9;
const clusterBitsMax = 21;
const externalDataFileBit = 1n << 2n;
const extensionEnd = 0;
const extensionBackingFormat = 0xe2792aca;
const extensionDataFile = 0x44415441;

export interface Qcow2Header {
  readonly version: number;
  /** Missing: nothing is below. `format` missing: the header does not say. */
  readonly backing?: { readonly name: string; readonly format?: string };
  /** Guest data is in another file. `name` missing: whoever opens the image must say which. */
  readonly dataFile?: { readonly name?: string };
}

/** Bytes of an image from `offset`, fewer than `length` only at its end. */
export type ReadAt = (offset: number, length: number) => Buffer;

/** A name as C reads it: to the first NUL. Bytes that are no UTF-8 become U+FFFD, which `readBackingName` refuses. */
function text(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}

interface Extensions {
  backingFormat?: string;
  dataFile?: string;
}

/**
 * Reads a header. Undefined: the image does not begin as a qcow2 image does. `label` names it in messages.
 * Throws `BAD_DATA` if the header is damaged.
 */
export function parseQcow2Header(readAt: ReadAt, label: string): Qcow2Header | undefined {
  const damaged = (why: string): HoldfastError =>
    new HoldfastError('BAD_DATA', `${label}: its qcow2 header is damaged: ${why}`, {
      resource: label,
      remedy: 'Look at it with `qemu-img info` and `qemu-img check`.',
    });
  const exactly = (offset: number, length: number, what: string): Buffer => {
    const bytes = readAt(offset, length);
    if (bytes.length < length) throw damaged(`the file ends within ${what}`);
    return bytes;
  };

  const start = readAt(0, headerBytesVersion3);
  if (!hasQcow2Magic(start)) return undefined;
  if (start.length < headerBytesVersion2) throw damaged('the file ends within it');
  const version = start.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw damaged(`its version is ${version}, not 2 or 3`);
  const clusterBits = start.readUInt32BE(20);
  if (clusterBits < clusterBitsMin || clusterBits > clusterBitsMax) {
    throw damaged(`its clusters have 2^${clusterBits} bytes`);
  }
  const clusterBytes = 2 ** clusterBits;
  let headerBytes = headerBytesVersion2;
  let incompatible = 0n;
  if (version === 3) {
    if (start.length < headerBytesVersion3) throw damaged('the file ends within it');
    incompatible = start.readBigUInt64BE(72);
    headerBytes = start.readUInt32BE(100);
    if (headerBytes < headerBytesVersion3 || headerBytes > clusterBytes) {
      throw damaged(`it says that it has ${headerBytes} bytes`);
    }
  }

  const nameOffset = start.readBigUInt64BE(8);
  const nameBytes = nameOffset === 0n ? 0 : start.readUInt32BE(16);
  if (nameOffset !== 0n) {
    if (nameOffset < BigInt(headerBytes)) throw damaged('the backing name overlaps the header');
    // All of this has to be in the first cluster, 2 MiB at most, so the number is exact from here on.
    if (nameOffset + BigInt(nameBytes) > BigInt(clusterBytes)) {
      throw damaged(`the backing name, at byte ${nameOffset}, is not in the first cluster`);
    }
    if (nameBytes > backingNameBytesMax) throw damaged(`the backing name has ${nameBytes} bytes`);
  }

  const readExtensions = (): Extensions => {
    const found: Extensions = {};
    const end = nameOffset === 0n ? clusterBytes : Number(nameOffset);
    let offset = headerBytes;
    for (let count = 0; offset + 8 <= end; count++) {
      const head = readAt(offset, 8);
      // An image without guest data can end right behind its header.
      if (head.length < 8) return found;
      const type = head.readUInt32BE(0);
      const length = head.readUInt32BE(4);
      if (type === extensionEnd) return found;
      if (count === extensionsMax) throw damaged(`it has more than ${extensionsMax} extensions`);
      offset += 8;
      if (offset + length > end) throw damaged('an extension reaches beyond the space for extensions');
      if (type === extensionBackingFormat) {
        if (length > formatNameBytesMax) throw damaged(`the backing format's name has ${length} bytes`);
        found.backingFormat = text(exactly(offset, length, "the backing format's name"));
      } else if (type === extensionDataFile) {
        if (length > dataFileNameBytesMax) throw damaged(`the data file's name has ${length} bytes`);
        found.dataFile = text(exactly(offset, length, "the data file's name"));
      }
      offset += Math.ceil(length / 8) * 8;
    }
    return found;
  };

  const extensions = readExtensions();
  const name = nameBytes === 0 ? '' : text(exactly(Number(nameOffset), nameBytes, 'the backing name'));
  const { backingFormat, dataFile } = extensions;
  return {
    version,
    ...(name === ''
      ? {}
      : { backing: { name, ...(backingFormat === undefined ? {} : { format: backingFormat }) } }),
    ...((incompatible & externalDataFileBit) === 0n
      ? {}
      : { dataFile: dataFile === undefined || dataFile === '' ? {} : { name: dataFile } }),
  };
}

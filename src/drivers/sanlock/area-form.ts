/** How large sectors and areas are: sanlock knows five pairs, and an area of more sectors has places for more hosts (sanlock(8), "Storage"). */
import { HoldfastError } from '../../errors.js';

export const mebibyte = 1024 * 1024;

export interface AreaForm {
  readonly sectorBytes: number;
  /** What an area takes; it begins at a multiple of that. */
  readonly bytes: number;
}

/** Of a sector size the first one is what sanlock takes if nothing is said. */
const forms: readonly AreaForm[] = [
  { sectorBytes: 512, bytes: mebibyte },
  { sectorBytes: 4096, bytes: 8 * mebibyte },
  { sectorBytes: 4096, bytes: 4 * mebibyte },
  { sectorBytes: 4096, bytes: 2 * mebibyte },
  { sectorBytes: 4096, bytes: mebibyte },
];
export const areaBytesMax = 8 * mebibyte;

/** @param storageSectorBytes of a block device; a file counts as having 512 */
export function defaultForm(storageSectorBytes = 512): AreaForm {
  return formFor({ sectorBytes: storageSectorBytes > 512 ? 4096 : 512 });
}

/**
 * The form that is asked for; what is not said is as in `otherwise`, as far as the two go together.
 * @throws HoldfastError USAGE
 */
export function formFor(asked: Partial<AreaForm>, otherwise?: AreaForm): AreaForm {
  const fits = (form: AreaForm): boolean =>
    (asked.sectorBytes ?? form.sectorBytes) === form.sectorBytes &&
    (asked.bytes ?? form.bytes) === form.bytes;
  if (otherwise !== undefined && fits(otherwise)) return otherwise;
  const sameSectors = forms.filter(({ sectorBytes }) => sectorBytes === otherwise?.sectorBytes);
  const found = sameSectors.find(fits) ?? forms.find(fits);
  if (found !== undefined) return found;
  throw new HoldfastError('USAGE', `sanlock has no areas of ${formInWords(asked)}`, {
    remedy: 'There are 1 MiB with sectors of 512 bytes, and 1, 2, 4 or 8 MiB with sectors of 4096 bytes.',
  });
}

export function formInWords({ sectorBytes, bytes }: Partial<AreaForm>): string {
  const size = bytes === undefined ? 'any size' : sizeInWords(bytes);
  return sectorBytes === undefined ? size : `${size} with sectors of ${sectorBytes} bytes`;
}

export function sizeInWords(bytes: number): string {
  return bytes % mebibyte === 0 ? `${bytes / mebibyte} MiB` : `${bytes} bytes`;
}

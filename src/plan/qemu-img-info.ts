/** Asks `qemu-img` what an image of a format other than qcow2 needs of other files. */
import { execFile } from 'node:child_process';
import { causeText } from '../errors.js';
import { readBackingName, type BackingName } from './backing-name.js';
import type { Below } from './below-image.js';
import { printable } from './look-at-path.js';

/** qemu-img answers in 20 ms; an image that keeps it busy longer is not worth waiting for. */
const answerMs = 10_000;
const answerBytesMax = 4 * 1024 * 1024;
/** A vmdk is split into extents of 2 GiB, so this is 8 TiB. */
const extentsMax = 4096;

interface ImageInfo {
  readonly 'backing-filename'?: unknown;
  readonly 'backing-filename-format'?: unknown;
  readonly 'format-specific'?: { readonly data?: { readonly extents?: unknown } };
}

async function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: answerMs,
      killSignal: 'SIGKILL',
      maxBuffer: answerBytesMax,
      env: { ...process.env, LC_ALL: 'C' },
    } as const;
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      // Node's own message has the whole command line before what the program said.
      const said = stderr.trim().split('\n').at(-1) ?? '';
      if (said !== '' && !error.killed) error.message = said;
      reject(error);
    });
    child.stdin?.end();
  });
}

function extentsOf(info: ImageInfo, path: string): BackingName[][] {
  const extents = info['format-specific']?.data?.extents;
  if (!Array.isArray(extents)) return [];
  return extents
    .slice(0, extentsMax)
    .map((extent) => (extent as { filename?: unknown } | null)?.filename)
    .filter((name) => typeof name === 'string')
    .map((name) => [readBackingName(name, path)]);
}

/**
 * One image at a time and always with its format: with `--backing-chain` qemu-img would probe each base whose
 * format is not said, and a guest can write a header into a raw base. `-U` takes no lock.
 */
export async function belowByQemuImg(path: string, format: string, qemuImg: string): Promise<Below> {
  const label = printable(path);
  let info: ImageInfo;
  try {
    const answer = await run(qemuImg, ['info', '-U', '-f', format, '--output=json', path]);
    info = (JSON.parse(answer) ?? {}) as ImageInfo;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing
      ? `qemu-img is not installed, and only it can read the format ${printable(format)}`
      : `qemu-img could not read it: ${printable(causeText(error).trim())}`;
    return { dataFiles: [], notes: [`${label}: what is below it is not planned: ${why}`] };
  }
  const name = info['backing-filename'];
  const baseFormat = info['backing-filename-format'];
  const backing =
    typeof name === 'string' && name !== ''
      ? readBackingName(name, path, typeof baseFormat === 'string' ? baseFormat : undefined)
      : undefined;
  return { dataFiles: extentsOf(info, path), notes: [], ...(backing === undefined ? {} : { backing }) };
}

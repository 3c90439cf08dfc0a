/** Reads a domain's XML from a file, a pipe or standard input. */
import { read as readCallback } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { HoldfastError } from '../errors.js';
import type { GuestDescription } from '../vocabulary.js';
import { inputError } from './input-error.js';
import { readDomainXml, type ReadDomainOptions } from './read-domain.js';
import { xmlBytesMax } from './xml-tree.js';

const readDescriptor = promisify(readCallback);
const chunkBytes = 64 * 1024;
const stdin = 0;
/** How long to leave a descriptor alone that somebody made non-blocking and that has nothing yet. */
const againMs = 10;

/**
 * Reads the domain XML in a file; `-` is standard input.
 * @throws HoldfastError NO_SUCH_FILE, NOT_READABLE, and all that `readDomainXml` throws
 */
export async function readDomainXmlFile(
  path: string,
  options: Pick<ReadDomainOptions, 'orDevice'> = {},
): Promise<GuestDescription> {
  return readDomainXml(await readXmlText(path), { file: calledInMessages(path), ...options });
}

/**
 * The text of a file, for whoever hands it on unread; `-` is standard input.
 * @throws HoldfastError NO_SUCH_FILE, NOT_READABLE, XML_LIMIT; XML_SYNTAX if it is not UTF-8
 */
export async function readXmlText(path: string): Promise<string> {
  const file = calledInMessages(path);
  return decode(await readBytes(path, file), file);
}

function calledInMessages(path: string): string {
  return path === '-' ? 'stdin' : path;
}

async function readBytes(path: string, file: string): Promise<Buffer> {
  try {
    // Not process.stdin: that makes a pipe or terminal non-blocking, for the command that inherits it as well.
    if (path === '-') return await readToEnd(stdin);
    const handle = await open(path);
    try {
      return await readToEnd(handle.fd);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      const why = code === 'ENOENT' ? 'does not exist' : 'cannot exist: a part of the path is a file';
      throw new HoldfastError('NO_SUCH_FILE', `${file} ${why}`, { resource: file, cause });
    }
    if (code === 'EISDIR') {
      const details = { resource: file, remedy: 'Name a file.' };
      throw new HoldfastError('NOT_READABLE', `${file} cannot be read: it is a directory`, details);
    }
    const why = code ?? String(cause);
    throw new HoldfastError('NOT_READABLE', `${file} cannot be read: ${why}`, { resource: file, cause });
  }
}

/** Stops one byte above the limit, where the parser refuses it: `/dev/zero` has no end. */
async function readToEnd(fd: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let total = 0; total <= xmlBytesMax;) {
    const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, xmlBytesMax + 1 - total));
    const length = await readAgain(fd, chunk);
    if (length === 0) break;
    chunks.push(chunk.subarray(0, length));
    total += length;
  }
  return Buffer.concat(chunks);
}

async function readAgain(fd: number, chunk: Buffer): Promise<number> {
  for (;;) {
    try {
      return (await readDescriptor(fd, chunk, 0, chunk.length, null)).bytesRead;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await sleep(againMs);
    }
  }
}

function decode(bytes: Buffer, file: string): string {
  if (bytes.length > xmlBytesMax) {
    // Not decoded: the limit may have cut a character in two.
    throw inputError(
      'XML_LIMIT',
      { file, line: 1, column: 1 },
      `the XML is larger than ${xmlBytesMax / 1024 / 1024} MiB`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw inputError('XML_SYNTAX', { file, line: 1, column: 1 }, 'the XML is not UTF-8', {
      remedy: 'Convert it to UTF-8 (iconv) and say so in its first line.',
      cause,
    });
  }
}

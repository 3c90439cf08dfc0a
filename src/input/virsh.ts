/** Asks libvirt, through its own command: no library of libvirt's is linked. */
import { execFile } from 'node:child_process';
import { HoldfastError } from '../errors.js';
import { xmlBytesMax } from './xml-tree.js';

export interface Connection {
  /** libvirt's URI, `qemu:///system`; without it libvirt's own default. */
  readonly connect?: string | undefined;
}

export interface AskOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Thrown inside this folder only: virsh ran and said no. */
export class VirshFailure extends Error {
  /** virsh's words, in English: it was run in the C locale. */
  readonly words: string;

  constructor(words: string, cause: unknown) {
    super(words, { cause });
    this.words = words;
  }
}

/**
 * Runs virsh and gives what it prints.
 * @throws HoldfastError LIBVIRT_UNREACHABLE (virsh is missing), ABORTED, XML_LIMIT; VirshFailure
 */
export async function runVirsh(
  connection: Connection,
  args: readonly string[],
  options: AskOptions = {},
): Promise<string> {
  const { connect } = connection;
  const all = connect === undefined ? args : ['-c', connect, ...args];
  return new Promise((resolve, reject) => {
    const child = execFile(
      'virsh',
      all,
      {
        encoding: 'utf8',
        // What virsh says is told apart by its words, so they must not be translated.
        env: { ...process.env, LC_ALL: 'C', LANGUAGE: '' },
        maxBuffer: xmlBytesMax,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(explain(error, stderr, options.signal));
      },
    );
    // virsh must not wait for a password that nobody can type.
    child.stdin?.on('error', () => {}).end();
  });
}

function explain(error: Error & { code?: unknown }, stderr: string, signal: AbortSignal | undefined): Error {
  if (signal?.aborted === true) {
    return new HoldfastError('ABORTED', 'the caller gave up before libvirt answered', {
      cause: signal.reason,
    });
  }
  if (error.code === 'ENOENT') {
    return new HoldfastError(
      'LIBVIRT_UNREACHABLE',
      'libvirt could not be asked: the command virsh is missing',
      {
        remedy: 'Install it (Debian: libvirt-clients; Fedora: libvirt-client), or give the XML with --xml.',
        cause: error,
      },
    );
  }
  if (error.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') {
    return new HoldfastError('XML_LIMIT', `virsh printed more than ${xmlBytesMax / 1024 / 1024} MiB`, {
      cause: error,
    });
  }
  const words = stderr
    .split('\n')
    .map((line) => line.replace(/^error:\s*/, '').trim())
    .filter((line) => line !== '')
    .join('; ');
  return new VirshFailure(words === '' ? error.message : words, error);
}

/** The error for a libvirt that could not be asked. */
export function unreachable(failure: VirshFailure): HoldfastError {
  return new HoldfastError('LIBVIRT_UNREACHABLE', `libvirt could not be asked: ${failure.words}`, {
    cause: failure,
  });
}

/**
 * What sanlock runs when it cannot renew (sanlock_killpath), instead of sending SIGTERM to the pid that registered.
 *
 * Where nobody stays beside the command the program acts itself. sanlock knows one pid, and what that has started keeps
 * the connection open: sanlock would wait for it until the watchdog resets the host. The program ends all of them, in time. It also
 * serves `pause`: sanlock kills whoever still has leases, so they have to be given back once all is paused.
 * Where somebody stays (a supervisor, a program that uses the library) it tells him: SIGTERM would be no word of a loss, but
 * the wish to end.
 */
import { accessSync, constants, fstatSync } from 'node:fs';
import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import { HoldfastError, type AcquireOptions } from '../../driver/contract.js';
import { descriptorLink } from '../../system/descriptor-keepers.js';
import { processStartTime } from '../../system/process.js';
import type { LeaseConnection } from './lease-connection.js';

/** Each, as found: sanlock 3.8.5 has room for 128, and cuts what is longer than this without a word. */
const bytesMax = 126;

/**
 * Registers it for a connection that has no leases yet. Gives what is to be said of the grant.
 * @throws HoldfastError UNSUPPORTED if a command is to be paused, and sanlock cannot run the program
 */
export async function registerLossProgram(
  connection: LeaseConnection,
  { onLost, lossWish, unlockOnRelease = false }: AcquireOptions,
): Promise<readonly string[]> {
  // A daemon that locks for others does better to end at SIGTERM: what it is told of a loss ends nobody in time.
  if (unlockOnRelease) return [];
  if (onLost === 'restart' || onLost === 'ignore') {
    throw new HoldfastError(
      'UNSUPPORTED',
      `sanlock ends whoever has lost its leases; it cannot ${onLost} it`,
    );
  }
  const link = descriptorLink(connection.descriptor);
  const startTime = processStartTime(process.pid);
  const words =
    onLost === undefined
      ? ['tell', connection.notice(), startTime, inodeOf(connection.notice()), inodeOf(connection.descriptor)]
      : [onLost, startTime, link];
  const file = program();
  const args = [file, ...words].join(' ');
  const fault = programFault(execPath, file, args) ?? missingFault(file);
  if (fault === undefined) {
    await connection.killpath(execPath, args);
    return [];
  }
  const remedy = 'Install all of Holdfast, and Node, where their paths are short and have no blanks.';
  if (onLost === 'pause' || lossWish?.action === 'pause')
    throw new HoldfastError(
      'UNSUPPORTED',
      `the command cannot be paused when its leases are lost: ${fault}`,
      { remedy },
    );
  return [
    `sanlock ends this process alone when its leases are lost, and not what it has started: ${fault}. ${remedy}`,
  ];
}

/** Why sanlock does not take it: it cuts arguments at blanks. */
export function programFault(path: string, file: string, args: string): string | undefined {
  const long = [path, args].find((text) => Buffer.byteLength(text) > bytesMax);
  if (long !== undefined) {
    return `sanlock takes ${bytesMax} bytes for a program, and as many for its arguments, and this has ${Buffer.byteLength(long)}: ${long}`;
  }
  return /\s/.test(file) ? `sanlock cuts arguments at blanks, and this path has one: ${file}` : undefined;
}

function missingFault(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK);
    return undefined;
  } catch (error) {
    return `its program cannot be read: ${(error as Error).message}`;
  }
}

function inodeOf(descriptor: number): bigint {
  return fstatSync(descriptor, { bigint: true }).ino;
}

/** The same file for the command, the library and the daemon, each of which stands in a folder beside it. */
function program(): string {
  const here = import.meta.url;
  const folder = here.endsWith('.ts') ? '../../../dist/command/' : '../command/';
  return fileURLToPath(new URL(`${folder}killpath.js`, here));
}

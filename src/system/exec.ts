/** Replaces this process by a command (execve(2)): same pid, descriptors and locks go along. */
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { causeText, HoldfastError } from '../errors.js';
import { errno, fcntlNumber, libcFunction, systemError } from './libc.js';
import type { LaunchState } from './launch-state.js';
import { setOpenFilesSoft } from './limits.js';
import { restoreSignals } from './signals.js';

const F_GETFD = 1;
const F_SETFD = 2;
const FD_CLOEXEC = 1;

const execv = libcFunction<[path: string, argv: (string | null)[]]>(
  'int execv(const char *path, const char **argv)',
);

/** Lets children and the next program have a descriptor, or not. */
export function setInheritable(fd: number, inheritable: boolean): void {
  const flags = fcntlNumber(fd, F_GETFD, 0);
  const wanted = inheritable ? flags & ~FD_CLOEXEC : flags | FD_CLOEXEC;
  if (flags === -1 || fcntlNumber(fd, F_SETFD, wanted) === -1) throw systemError('fcntl');
}

/** The file that a command names: as it is if it has a slash, else the first executable one in PATH. Throws `COMMAND_NOT_FOUND` or `COMMAND_NOT_EXECUTABLE`. */
export function findCommand(command: string, path: string = process.env['PATH'] ?? '/usr/bin:/bin'): string {
  const candidates = command.includes('/')
    ? [command]
    : path.split(delimiter).map((directory) => join(directory === '' ? '.' : directory, command));
  let denied: unknown;
  for (const candidate of candidates) {
    try {
      // Mostly it is in a later folder of PATH, and an exception for each of the others costs 20 us.
      const stats = statSync(candidate, { throwIfNoEntry: false });
      if (stats === undefined) continue;
      accessSync(candidate, constants.X_OK);
      if (stats.isFile()) return candidate;
      denied = new Error(`${candidate} is not a file`);
    } catch (error) {
      // A folder of PATH that may not be searched is passed over, as shells do; a file that is there is not.
      if (command.includes('/') ? !isMissing(error) : isThere(candidate)) denied = error;
    }
  }
  if (command === '' || denied === undefined) {
    throw new HoldfastError('COMMAND_NOT_FOUND', `${command}: command not found`);
  }
  throw new HoldfastError('COMMAND_NOT_EXECUTABLE', `${command}: cannot be executed: ${causeText(denied)}`, {
    cause: denied,
  });
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function isThere(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Node turns what is not UTF-8 in its arguments into U+FFFD, and the bytes are lost: a command must not get other
 * arguments than its caller wrote. Throws `USAGE`.
 */
export function requireFaithfulArguments(argv: readonly string[]): void {
  const doubtful = argv.filter((argument) => argument.includes('\uFFFD'));
  if (doubtful.length === 0) return;
  const own = readFileSync('/proc/self/cmdline');
  const changed = doubtful.find((argument) => !own.includes(`\0${argument}\0`));
  if (changed === undefined) return;
  throw new HoldfastError('USAGE', `an argument is not UTF-8, and cannot be passed on as it is: ${changed}`, {
    remedy: 'Put the command into a script, or use: sh -c \'command "$(printf ...)"\'',
  });
}

/**
 * Becomes `file`. Returns only by throwing `COMMAND_NOT_FOUND` or `COMMAND_NOT_EXECUTABLE`; then the descriptors are close-on-exec again.
 * @param descriptors what the command inherits, besides 0, 1 and 2
 */
export function becomeCommand(
  file: string,
  argv: readonly string[],
  descriptors: readonly number[],
  launch: LaunchState | undefined,
): never {
  for (const fd of [0, 1, 2, ...(launch?.descriptors ?? [])]) setInheritableIfOpen(fd);
  for (const fd of descriptors) setInheritable(fd, true);
  restoreSignals(launch);
  if (launch !== undefined) setOpenFilesSoft(launch.openFilesSoft);
  execv(file, [...argv, null]);
  const failure = systemError('execv', errno(), file);
  if (failure.code === 'ENOEXEC') {
    // As execvp(3) and shells do: a file without a header is a script for the shell.
    execv('/bin/sh', ['sh', file, ...argv.slice(1), null]);
  }
  for (const fd of descriptors) setInheritable(fd, false);
  const code = failure.code === 'ENOENT' ? 'COMMAND_NOT_FOUND' : 'COMMAND_NOT_EXECUTABLE';
  throw new HoldfastError(code, `${file} cannot be started: ${failure.message}`, { cause: failure });
}

function setInheritableIfOpen(fd: number): void {
  try {
    setInheritable(fd, true);
  } catch {
    // The caller's to close. A lock's descriptor cannot be: the lock would be missing at once.
  }
}

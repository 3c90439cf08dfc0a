/** `run` without a supervisor: this process becomes the command, with the locks. */
import { becomeCommand, findCommand } from '../system/exec.js';
import type { LaunchState } from '../system/launch-state.js';
import type { Hold } from './hold.js';

/**
 * Becomes the command: same pid, the locks in inherited descriptors, nothing left of Holdfast.
 * If it cannot be started, the hold is released, and `COMMAND_NOT_FOUND` or `COMMAND_NOT_EXECUTABLE` is thrown.
 */
export async function runInPlace(
  hold: Hold,
  [name, ...args]: readonly [string, ...string[]],
  launch: LaunchState | undefined,
): Promise<never> {
  try {
    const file = findCommand(name);
    Object.assign(process.env, hold.environment);
    return becomeCommand(file, [name, ...args], hold.descriptors, launch);
  } catch (error) {
    await hold.release();
    throw error;
  }
}

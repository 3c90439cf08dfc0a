/** The lock daemon as a user has it. */
import { fileURLToPath } from 'node:url';

/** The built daemon; `HOLDFASTD` names another one to test, with its arguments. */
export const holdfastdCommand: readonly string[] = process.env['HOLDFASTD']?.split(' ') ?? [
  process.execPath,
  fileURLToPath(new URL('../../dist/daemon/holdfastd.js', import.meta.url)),
];

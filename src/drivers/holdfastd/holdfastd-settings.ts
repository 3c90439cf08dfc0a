/** The driver's settings: `[driver.holdfastd]` in the configuration. */
import { join } from 'node:path';
import type { DriverSettings } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import { runtimeDirectory } from '../../system/runtime-directory.js';

export interface HoldfastdSettings {
  /** The socket of the daemon's API. */
  readonly socket: string;
  /** Where the witnesses of holds are: on this host, and where the daemon can open them. */
  readonly witnessDir: string;
}

const names = ['socket', 'witness_dir'] as const;

/** Throws `CONFIG` for a setting that does not exist or is no absolute path. */
export function readHoldfastdSettings(
  given: DriverSettings,
  environment: NodeJS.ProcessEnv = process.env,
): HoldfastdSettings {
  for (const [name, value] of Object.entries(given)) {
    if (!(names as readonly string[]).includes(name)) {
      throw wrong(name, `there is no setting '${name}'; there are ${names.join(', ')}`);
    }
    if (typeof value !== 'string' || !value.startsWith('/') || value.includes('\0'))
      throw wrong(name, `${name} must be an absolute path`);
  }
  const { socket, witness_dir: witnessDir } = given as Partial<Record<(typeof names)[number], string>>;
  return {
    socket: socket ?? join(runtimeDirectory(environment), 'api.sock'),
    witnessDir: witnessDir ?? join(runtimeDirectory(environment), 'witnesses'),
  };
}

function wrong(setting: string, what: string): HoldfastError {
  return new HoldfastError('CONFIG', `driver holdfastd: ${what}`, { setting });
}

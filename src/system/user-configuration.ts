/** Where a user's configuration stands (XDG base directory specification). */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** `$XDG_CONFIG_HOME`, else `~/.config`; a relative path is to be ignored, as the specification says. */
export function userConfiguration(env: NodeJS.ProcessEnv = process.env): string {
  const { XDG_CONFIG_HOME: named = '', HOME: home = '' } = env;
  if (isAbsolute(named)) return named;
  // What homedir() gives first, without loading node:os.
  return join(isAbsolute(home) ? home : homedir(), '.config');
}

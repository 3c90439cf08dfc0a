import type { DaemonHold } from '../../index.js';
import { inCurrentFolder } from '../absolute-path.js';
import { namedHold, sayHold } from '../daemon-hold.js';
import type { Parsed } from '../parse-arguments.js';

/** `holdfast detach`. */
export async function detach({ options, operands: [word = '', ...names] }: Parsed): Promise<number> {
  const { daemon, hold } = await namedHold(options, word);
  const known = names.map((name) => knownName(hold, name));
  sayHold(await daemon.shrink(hold.id, known), hold, options);
  return 0;
}

/** A relative path may have been written so, or is that of something which was attached by its whole path. */
function knownName({ requests }: DaemonHold, name: string): string {
  const path = inCurrentFolder(name);
  const whole = requests.some(({ resource }) => resource.label === path || resource.path === path);
  return whole && !requests.some(({ resource }) => resource.label === name) ? path : name;
}

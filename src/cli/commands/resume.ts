import { namedHold, sayHold } from '../daemon-hold.js';
import type { Parsed } from '../parse-arguments.js';

/** `holdfast resume`. */
export async function resume({ options, operands: [word = ''] }: Parsed): Promise<number> {
  const { daemon, hold } = await namedHold(options, word);
  sayHold(await daemon.resume(hold.id), hold, options);
  return 0;
}

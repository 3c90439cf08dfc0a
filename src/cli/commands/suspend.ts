import { namedHold, sayHold } from '../daemon-hold.js';
import type { Parsed } from '../parse-arguments.js';

/** `holdfast suspend`. */
export async function suspend({ options, operands: [word = ''] }: Parsed): Promise<number> {
  const { daemon, hold } = await namedHold(options, word);
  sayHold(await daemon.suspend(hold.id), hold, options);
  return 0;
}

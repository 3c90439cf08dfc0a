import { namedHold } from '../daemon-hold.js';
import type { Parsed } from '../parse-arguments.js';
import { writeOut } from '../write.js';

/** `holdfast release`. */
export async function release({ options, operands: [word = ''] }: Parsed): Promise<number> {
  const { daemon, hold } = await namedHold(options, word);
  await daemon.release(hold.id);
  if (options.has('json')) writeOut(`${JSON.stringify({ id: hold.id, state: 'released' })}\n`);
  return 0;
}

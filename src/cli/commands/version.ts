import { version as number } from '../../version.js';
import type { Parsed } from '../parse-arguments.js';
import { writeOut } from '../write.js';

/** `holdfast version`. */
export function version({ options }: Parsed): number {
  const data = { holdfast: number, node: process.version };
  writeOut(options.has('json') ? `${JSON.stringify(data)}\n` : `holdfast ${number}\n`);
  return 0;
}

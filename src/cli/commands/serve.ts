import { fileURLToPath } from 'node:url';
import { becomeCommand } from '../../index.js';
import type { Parsed } from '../parse-arguments.js';

/** sd_listen_fds(3): what a service manager opened stands from here on. */
const firstDescriptor = 3;

/** `holdfast serve`: becomes the daemon, which is a program of its own. Its options were checked, and it reads them itself. */
export function serve(_parsed: Parsed): never {
  const daemon = fileURLToPath(new URL('../daemon/holdfastd.js', import.meta.url));
  const [, , , ...words] = process.argv;
  const count = Number(process.env['LISTEN_FDS'] ?? 0);
  const length = Number.isSafeInteger(count) && count > 0 ? count : 0;
  const given = Array.from({ length }, (_, index) => firstDescriptor + index);
  return becomeCommand(process.execPath, [process.execPath, daemon, ...words], given, undefined);
}

import { HoldfastError } from '../../errors.js';
import { inputForDaemon } from '../../index.js';
import { namedHold, sayHold } from '../daemon-hold.js';
import { lockOptionsFrom } from '../manager-from-options.js';
import type { Parsed } from '../parse-arguments.js';

/** `holdfast attach`. */
export async function attach({ options, operands: [word = ''] }: Parsed): Promise<number> {
  const file = options.list('xml');
  const disks = options.list('disk');
  const leases = options.list('lease');
  const connect = options.text('connect');
  if (file.length + disks.length + leases.length === 0) {
    throw new HoldfastError('USAGE', 'there is nothing to attach', {
      remedy: 'Give --xml FILE, --disk PATH or --lease LOCKSPACE:KEY.',
    });
  }
  const input = await inputForDaemon({ file, disks, leases, ...(connect === undefined ? {} : { connect }) });
  const { daemon, hold } = await namedHold(options, word);
  sayHold(await daemon.extend(hold.id, input, lockOptionsFrom(options)), hold, options);
  return 0;
}

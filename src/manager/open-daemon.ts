/** The front door of the lock daemon's API: a client of the daemon that this host's configuration names. */
import { join } from 'node:path';
import type { DaemonClient } from '../daemon-client/daemon-client.js';
import { HoldfastError } from '../errors.js';
import { runtimeDirectory } from '../system/runtime-directory.js';
import { readConfiguration } from './configuration.js';

export interface OpenDaemonOptions {
  /** Absolute; default: `[driver.holdfastd]` or `[daemon]` of the configuration, else `api.sock` in the runtime directory. */
  readonly socket?: string;
  /** A configuration file instead of the usual ones; false: none at all. */
  readonly configuration?: string | false;
}

/** Nothing is connected before the first call. Throws `CONFIG`, `USAGE`. */
export async function openDaemon(options: OpenDaemonOptions = {}): Promise<DaemonClient> {
  const socket = options.socket ?? (await configuredSocket(options)) ?? join(runtimeDirectory(), 'api.sock');
  if (!socket.startsWith('/')) {
    throw new HoldfastError('USAGE', `the daemon's socket must be an absolute path, but is '${socket}'`, {
      remedy: 'Write its whole path.',
    });
  }
  // Loads node:http, which nobody else needs.
  const { DaemonClient } = await import('../daemon-client/daemon-client.js');
  return new DaemonClient(socket);
}

async function configuredSocket({ configuration }: OpenDaemonOptions): Promise<string | undefined> {
  if (configuration === false) return undefined;
  const { driverSettings, daemon } = await readConfiguration(
    configuration === undefined ? {} : { file: configuration },
  );
  const socket = driverSettings?.['holdfastd']?.['socket'];
  return typeof socket === 'string' ? socket : daemon?.apiSocket;
}

/** The settings of each driver. */
import type { DriverSettings } from '../driver/contract.js';
import type { Configuration } from './configuration.js';

/** What a caller gives. */
interface OwnSettings {
  readonly settings?: Readonly<Record<string, DriverSettings>>;
  readonly qemuLock?: Configuration['qemuLock'];
}

/** By driver: the configuration's, then the caller's. */
export function driverSettings(
  { driverSettings: configured, qemuLock: configuredLock, daemon }: Configuration,
  { qemuLock = configuredLock, settings }: OwnSettings,
): Readonly<Record<string, DriverSettings>> {
  const merged: Record<string, DriverSettings> = { ...configured };
  if (daemon?.apiSocket !== undefined)
    merged['holdfastd'] = { socket: daemon.apiSocket, ...merged['holdfastd'] };
  if (qemuLock !== undefined) merged['fcntl'] = { ...merged['fcntl'], qemu_lock: qemuLock };
  for (const [name, own] of Object.entries(settings ?? {})) merged[name] = { ...merged[name], ...own };
  return merged;
}

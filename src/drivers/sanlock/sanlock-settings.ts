/** The driver's settings: `[driver.sanlock]`, and what libvirt's own configuration says. */
import type { DriverSettings } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import {
  libvirtSanlockNames,
  readLibvirtSanlockSettings,
  type LibvirtSanlockSettings,
} from './libvirt-sanlock-settings.js';

export type SanlockSettings = LibvirtSanlockSettings;

/** Throws `CONFIG` for a setting that does not exist or is not what it has to be. */
export function readSanlockSettings(given: DriverSettings): SanlockSettings {
  const unknown = Object.keys(given).find(
    (name) => !(libvirtSanlockNames as readonly string[]).includes(name),
  );
  if (unknown !== undefined) {
    const message = `driver sanlock: there is no setting '${unknown}'; there are ${libvirtSanlockNames.join(', ')}`;
    throw new HoldfastError('CONFIG', message, { setting: unknown });
  }
  return readLibvirtSanlockSettings(given);
}

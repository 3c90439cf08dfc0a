/** The servers of the lock clusters that the configuration names. */
import type { ClusterServer } from '../driver/contract.js';
import { ChosenDrivers } from './chosen-drivers.js';

export type { ClusterServer } from '../driver/contract.js';

/** @param file a configuration instead of the usual ones. Throws what is wrong with it or the drivers' settings. */
export async function clusterServers(file?: string): Promise<readonly ClusterServer[]> {
  const chosen = new ChosenDrivers(file === undefined ? {} : { configuration: file });
  try {
    const started = await (await chosen.chain()).started();
    const servers: ClusterServer[] = [];
    for (const { driver } of started) servers.push(...((await driver.examine?.()) ?? []));
    return servers;
  } finally {
    await chosen.end();
  }
}

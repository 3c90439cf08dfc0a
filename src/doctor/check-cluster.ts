/** The servers of a lock cluster, if the configuration names one. */
import { clusterServers, type ClusterServer } from '../manager/cluster-servers.js';
import { finding, type Finding } from './finding.js';

/** @param file instead of the usual configuration. */
export async function checkCluster(file?: string): Promise<Finding[]> {
  return clusterFindings(await clusterServers(file));
}

export function clusterFindings(servers: readonly ClusterServer[]): Finding[] {
  if (servers.length === 0) return [];
  const found: Finding[] = [];
  const deciding = servers.filter(({ decides }) => decides);
  const evidence = servers.map(
    ({ name, version, error }) => `${name}: ${error ?? `etcd ${version ?? 'of an unknown version'}`}`,
  );
  if (deciding.length === 0) {
    found.push(finding('cluster-undecided', { what: 'no server of the lock cluster can decide', evidence }));
  } else {
    const what = `the lock cluster decides: ${deciding.length} of ${servers.length} servers named`;
    found.push(finding('cluster-decides', { what, evidence }));
    for (const { name, error = '' } of servers.filter(({ decides }) => !decides)) {
      const away = `${name} does not answer, or is cut off from the others`;
      found.push(finding('cluster-server-away', { subject: name, what: away, evidence: [error] }));
    }
  }
  for (const { name } of servers.filter(({ full }) => full)) {
    found.push(finding('cluster-full', { subject: name, what: 'etcd has raised the alarm NOSPACE' }));
  }
  for (const note of new Set(servers.flatMap((one) => one.note ?? []))) {
    found.push(finding('cluster-version', { what: note }));
  }
  return found;
}

/** Runs every check, and puts what was found in order. */
import { resolve } from 'node:path';
import { causeText, HoldfastError, isHoldfastError } from '../errors.js';
import { readConfiguration, type Configuration } from '../manager/configuration.js';
import { Identities } from '../plan/identities.js';
import { glanceAtPath, lookAtPath, type Seen } from '../plan/look-at-path.js';
import { readSurroundings, type Surroundings } from '../plan/surroundings.js';
import { checkCluster } from './check-cluster.js';
import { checkConfiguration } from './check-configuration.js';
import { checkFileSystems } from './check-file-system.js';
import { checkGuests } from './check-guests.js';
import { checkHoldfastd } from './check-holdfastd.js';
import { checkLibvirt } from './check-libvirt.js';
import { checkLockSupport } from './check-lock-support.js';
import { checkRecords } from './check-records.js';
import { checkSanlock } from './check-sanlock.js';
import { checkSameDisk } from './check-same-disk.js';
import { checkSoftware } from './check-software.js';
import { checkUse } from './check-use.js';
import { checkVisibility } from './check-visibility.js';
import type { ExamineOptions } from './examine-host.js';
import { finding, type Finding } from './finding.js';
import { findingLevels } from './finding-table.js';
import { Host, type Check, type Disk } from './host.js';

/** As `examineHost`, which loads this when it is asked for. */
export async function runChecks(
  paths: readonly string[],
  { configuration: file }: ExamineOptions,
): Promise<readonly Finding[]> {
  const surroundings = readSurroundings(await planOptions(file));
  const host = new Host();
  if (paths.includes('')) throw new HoldfastError('USAGE', 'a path is empty', { remedy: 'Name a disk.' });
  const asked = [...new Set(paths)];
  const missing = asked.length > 1 ? asked.flatMap(missingFinding) : [];
  const absent = missing.map(({ subject }) => subject);
  const disks = lookAtDisks(
    asked.filter((path) => !absent.includes(path)),
    surroundings,
  );
  const found = [...missing, ...(await runCheck('software', checkSoftware, host, disks))];
  const checks: readonly (readonly [name: string, check: Check])[] = [
    ['configuration', () => checkConfiguration(file)],
    ['lock cluster', () => checkCluster(file)],
    ['visibility', checkVisibility],
    ['libvirt', checkLibvirt],
    ['holdfastd', checkHoldfastd],
    ['sanlock', (one) => checkSanlock(one, file)],
    ['same disk', (_, all) => checkSameDisk(all, surroundings)],
    ['file systems', checkFileSystems],
  ];
  const locking: typeof checks = [
    ['records', checkRecords],
    ['locks', checkLockSupport],
    ['use', checkUse],
    ['guests', checkGuests],
  ];
  // Without native calls these would all fail, and say the same.
  const canLock = found.every(({ id }) => id !== 'native-calls-missing');
  for (const [name, check] of canLock ? [...checks, ...locking] : checks) {
    found.push(...(await runCheck(name, check, host, disks)));
  }
  return findingLevels.flatMap((level) => found.filter((one) => one.level === level));
}

/** One check that cannot be made says nothing about the others. */
export async function runCheck(
  name: string,
  check: Check,
  host: Host,
  disks: readonly Disk[],
): Promise<readonly Finding[]> {
  try {
    return await check(host, disks);
  } catch (error) {
    const what = `the check of ${name} could not be made`;
    return [finding('check-failed', { subject: name, what, evidence: [causeText(error)] })];
  }
}

/** A wrong configuration is a finding, and must not keep the others from being made. */
async function planOptions(
  file: string | undefined,
): Promise<Pick<Configuration, 'aliases' | 'localFileSystems'>> {
  try {
    const { aliases, localFileSystems } = await readConfiguration(file === undefined ? {} : { file });
    return {
      ...(aliases === undefined ? {} : { aliases }),
      ...(localFileSystems === undefined ? {} : { localFileSystems }),
    };
  } catch (error) {
    if (!isHoldfastError(error, 'CONFIG')) throw error;
    return {};
  }
}

/** Of several paths one that leads to no disk keeps nobody from looking at the others. */
function missingFinding(path: string): Finding[] {
  try {
    look(resolve(path));
    return [];
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    const { message: what, remedy } = error;
    return [finding('disk-missing', { subject: path, what, remedy })];
  }
}

/** The same path twice is one disk. */
export function lookAtDisks(paths: readonly string[], surroundings: Surroundings): Disk[] {
  const identities = new Identities(surroundings);
  return [...new Set(paths)].map((label) => {
    const seen = look(resolve(label));
    return { label, seen, resource: identities.resourceOf(seen, label) };
  });
}

/** A disk that may not be read can be examined all the same. */
function look(path: string): Seen {
  try {
    return lookAtPath(path, 'disk');
  } catch (error) {
    const seen = isHoldfastError(error, 'NOT_READABLE') ? glanceAtPath(path) : undefined;
    if (seen === undefined) throw error;
    return seen;
  }
}

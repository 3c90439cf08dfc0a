/**
 * Where systemd starts the daemon, it ends all that stands in the service's control group when the service ends, and the guard, which
 * is there for just that moment, with it. So the guard gets a group of its own: a scope (systemd.scope(5)), which is made by
 * `systemd-run` before that becomes the guard's program, with the same pid and descriptors.
 */
import { randomHex } from '../../system/random.js';
import { ownServiceUnit, type ServiceUnit } from '../../system/service-unit.js';

/**
 * When the host is shut down, systemd asks a scope to end at once; the guard stays as long as its daemon does, and so as long as guests
 * are given to end.
 */
const stopMax = '10min';

/** The words before the guard's own; undefined: systemd has not started this process. */
export function scopeWords(unit: ServiceUnit | undefined = ownServiceUnit()): readonly string[] | undefined {
  if (unit === undefined) return undefined;
  return [
    'systemd-run',
    ...(unit.user ? ['--user'] : []),
    ...['--scope', '--quiet', '--collect', `--unit=holdfast-guard-${randomHex(4)}`],
    `--description=Holdfast: ends guests that outlive their locks (${unit.name})`,
    `--property=TimeoutStopSec=${stopMax}`,
    '--',
  ];
}

/**
 * The cluster driver of a lock daemon, for locks that it takes in the names of guests: planned as all others are, and taken with
 * nothing else. No record is written and nobody looks for uses without a lock: whoever asks holds the kernel's lock already.
 */
import type { Driver, DriverAbout, DriverFactory } from '../driver/contract.js';
import { findDriver } from '../driver/discovery.js';
import { mapRequest } from '../driver/map-request.js';
import { lazyDriver } from '../driver/started-driver.js';
import { HoldfastError } from '../errors.js';
import { makePlan } from '../plan/make-plan.js';
import type { LeaseDescription, LockRequest, Owner } from '../vocabulary.js';
import { refusedItem } from './acquire-plan.js';
import { readConfiguration } from './configuration.js';
import { describeGuest, type DiskInput } from './guest-input.js';
import { ownerHere } from './owner.js';
import type { OwnerProcess } from './lock-options.js';

/** A guest that somebody else has started. */
export interface ClusterGuest {
  /** 36 characters, with dashes. */
  readonly uuid: string;
  readonly name: string;
  readonly id?: number;
  readonly process: OwnerProcess;
}

export interface ClusterDriver {
  readonly about: DriverAbout;
  readonly driver: Driver;
  /** The guest as an owner of this host. */
  owner(guest: ClusterGuest): Owner;
  /**
   * What is to be locked for one disk or lease of a guest, sorted by identity: the guest's own lock among it. Throws what planning
   * throws, and `CANNOT_LOCK` with the reason of the driver.
   */
  requests(guest: ClusterGuest, thing: DiskInput | LeaseDescription): Promise<readonly LockRequest[]>;
  /** Gives back what is held still. */
  end(): Promise<void>;
}

export interface ClusterDriverOptions {
  readonly drivers: readonly string[];
  /** A configuration file instead of the usual ones. */
  readonly configuration?: string;
}

/** The one of these drivers that reaches a cluster; undefined: there is none. Throws `CONFIG` for two of them, and what its start throws. */
export async function openClusterDriver(options: ClusterDriverOptions): Promise<ClusterDriver | undefined> {
  const { drivers, configuration: file } = options;
  const found = await Promise.all(drivers.map((name) => findDriver(name)));
  const [factory, other] = found.map((one) => one.factory).filter(({ about }) => about.reach === 'cluster');
  if (factory === undefined) return undefined;
  if (other !== undefined) {
    const names = `${factory.about.name} and ${other.about.name}`;
    throw new HoldfastError('CONFIG', `libvirt's locks can be taken in one cluster, not in two: ${names}`, {
      remedy: 'Name one of them.',
    });
  }
  return startClusterDriver(factory, file);
}

async function startClusterDriver(factory: DriverFactory, file: string | undefined): Promise<ClusterDriver> {
  const { about } = factory;
  const configuration = await readConfiguration(file === undefined ? {} : { file });
  const { aliases, localFileSystems, driverSettings } = configuration;
  const lazy = lazyDriver(factory, driverSettings?.[about.name] ?? {});
  const driver = await lazy.get();
  const planOptions = {
    ...(aliases === undefined ? {} : { aliases }),
    ...(localFileSystems === undefined ? {} : { localFileSystems }),
  };
  return {
    about,
    driver,
    owner: ({ process, ...guest }) => ownerHere({ kind: 'domain', ...guest }, process),
    async requests({ process: _, ...owner }, thing) {
      const input = 'lockspace' in thing ? { leases: [thing] } : { disks: [thing] };
      const plan = await makePlan(await describeGuest({ ...input, owner }), planOptions);
      const refused = plan.items.find(({ verdict }) => verdict === 'refuse');
      if (refused !== undefined) throw refusedItem(refused);
      return plan.requests.map((request) => {
        const mapped = mapRequest(about, driver, request);
        if (mapped.can) return { ...request, mode: mapped.mode };
        const { label } = request.resource;
        throw new HoldfastError(mapped.code ?? 'CANNOT_LOCK', `${label} cannot be locked: ${mapped.reason}`, {
          resource: label,
          ...(mapped.remedy === undefined ? {} : { remedy: mapped.remedy }),
        });
      });
    },
    end: () => lazy.end(),
  };
}

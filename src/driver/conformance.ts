/**
 * The conformance suite: the same cases for every driver, built in or not.
 *
 * It needs no test runner. `driverConformance` gives the cases of a driver; `runCases` runs them, or
 * `runWithNodeTest` hands them to `node:test`; `abilityMatrix` prints what came out.
 */
import { isHoldfastError, HoldfastError } from '../errors.js';
import type { Resource } from '../vocabulary.js';
import type { Driver, DriverAbout, DriverFactory, DriverSettings } from './contract.js';
import { openBench, testOwner } from './conformance-bench.js';
import type { CaseDefinition } from './conformance-bench.js';
import { lockingCases } from './conformance-locking.js';
import { modeCases } from './conformance-modes.js';
import { optionalCases } from './conformance-optional.js';
import { optionalFunctions } from './driver-shape.js';
import type { OptionalFunction } from './driver-shape.js';
import { lazyDriver } from './started-driver.js';

export { abilityMatrix, runCases, runWithNodeTest } from './conformance-run.js';
export type { CaseResult, ConformanceReport, NodeTest } from './conformance-run.js';

export interface ConformanceOptions {
  readonly factory: DriverFactory;
  readonly settings?: DriverSettings;
  /**
   * Makes the nth resource: something the driver can lock, with an identity of its own. Called with each
   * number once, from 0 on; the suite asks for about 200.
   */
  makeResource(n: number): Promise<Resource> | Resource;
  /** The other contender. Without it the driver is started a second time, with the same settings. */
  secondInstance?(): Promise<Driver> | Driver;
  /** Settings that have to make the start fail; without them that case is skipped. */
  readonly badSettings?: DriverSettings;
  /** How long a call that has to come back may take before its case fails; default: 30,000. */
  readonly patienceMs?: number;
  /** Cases, by name, that this driver cannot be held to, and why. */
  readonly skip?: Readonly<Record<string, string>>;
}

export interface ConformanceCase {
  readonly name: string;
  /** What it is about; the rows of the matrix. */
  readonly ability: string;
  /** Why it is not to be run; without it, it is. */
  readonly skip?: string;
  /** Rejects if the driver does not do what the case asks for. */
  readonly run: () => Promise<void>;
}

export interface ConformanceSuite {
  readonly about: DriverAbout;
  /** The optional functions that the driver has. */
  readonly offered: readonly OptionalFunction[];
  readonly cases: readonly ConformanceCase[];
}

const definitions: readonly CaseDefinition[] = [...lockingCases, ...modeCases, ...optionalCases];

/** The names of all cases, in order: what `skip` can name. */
export const conformanceCases: readonly string[] = definitions.map(({ name }) => name);

/**
 * The cases for one driver. Starts the driver once to see what it offers.
 * @throws HoldfastError USAGE for a skip without a reason or of a case that does not exist; what the driver's start throws
 */
export async function driverConformance(options: ConformanceOptions): Promise<ConformanceSuite> {
  requireReasons(options.skip ?? {});
  let made = 0;
  const makeResource = async (): Promise<Resource> => options.makeResource(made++);
  const { about } = options.factory;
  const { offered, hasTokens } = await lookAt(options, makeResource);

  const missing = (definition: CaseDefinition): string | undefined => {
    const without = (definition.needs ?? []).find((name) => !offered.includes(name));
    if (without !== undefined) return `the driver has no \`${without}\``;
    if (definition.excludes === true && about.reach === 'none') return 'reach is none: it keeps nobody out';
    if (definition.tokens === true && !hasTokens) return 'its grants have no fencing tokens';
    if (definition.badSettings === true && options.badSettings === undefined) return 'no `badSettings` given';
    return undefined;
  };

  const cases = definitions.map((definition): ConformanceCase => {
    const skip = options.skip?.[definition.name] ?? missing(definition);
    return {
      name: definition.name,
      ability: definition.ability,
      ...(skip === undefined ? {} : { skip }),
      run: async () => {
        const bench = await openBench(options, makeResource);
        try {
          await definition.run(bench);
        } finally {
          await bench.close();
        }
      },
    };
  });
  return { about, offered, cases };
}

function requireReasons(skip: Readonly<Record<string, string>>): void {
  for (const [name, reason] of Object.entries(skip)) {
    if (!conformanceCases.includes(name)) {
      throw new HoldfastError(
        'USAGE',
        `The conformance suite has no case "${name}", so it cannot be skipped`,
      );
    }
    if (reason.trim() === '') {
      throw new HoldfastError('USAGE', `The case "${name}" is skipped without a reason`);
    }
  }
}

async function lookAt(
  { factory, settings }: ConformanceOptions,
  makeResource: () => Promise<Resource>,
): Promise<{ offered: OptionalFunction[]; hasTokens: boolean }> {
  const lazy = lazyDriver(factory, settings);
  try {
    const driver = await lazy.get();
    const offered = optionalFunctions.filter((name) => driver[name] !== undefined);
    return { offered, hasTokens: await givesTokens(driver, await makeResource()) };
  } finally {
    await lazy.end();
  }
}

async function givesTokens(driver: Driver, resource: Resource): Promise<boolean> {
  try {
    const { signal } = new AbortController();
    const grant = await driver.acquire(testOwner('look'), [{ resource, mode: 'exclusive' }], { signal });
    await driver.release(grant);
    return Object.keys(grant.tokens).length > 0;
  } catch (error) {
    // The cases themselves say what is wrong with a driver that cannot even do this.
    if (isHoldfastError(error)) return true;
    throw error;
  }
}

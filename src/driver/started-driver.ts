/**
 * A driver from its first use to its end.
 *
 * Nobody calls load or unload: the first `get` starts the driver, callers that come meanwhile get the same
 * start, and a start that failed is tried again at the next `get`.
 */
import { causeText, errorCodes, HoldfastError, isHoldfastError } from '../errors.js';
import type { Driver, DriverFactory, DriverSettings } from './contract.js';
import { minimumFunctions, optionalFunctions, requireGrant, requireMinimum } from './driver-shape.js';

export interface LazyDriver {
  /**
   * The driver, started.
   * @throws HoldfastError what its start threw; DRIVER_BROKEN if it lacks a function; ENDED after `end`.
   */
  get(): Promise<Driver>;
  /** Ends the driver if it was started. Twice is no error; after it nothing starts again. */
  end(): Promise<void>;
}

/** A driver that starts when it is first needed. */
export function lazyDriver(factory: DriverFactory, settings: DriverSettings = {}): LazyDriver {
  const { name } = factory.about;
  let starting: Promise<Driver> | undefined;
  let ending: Promise<void> | undefined;

  async function start(): Promise<Driver> {
    let driver: Driver;
    try {
      driver = requireMinimum(await factory.start(settings), name);
    } catch (error) {
      starting = undefined;
      throw asHoldfastError(error, name, 'could not be started');
    }
    return withErrorsOfOneClass(driver, name);
  }

  async function finish(): Promise<void> {
    const driver = await starting?.catch(() => undefined);
    await driver?.end?.();
  }

  return {
    get: async () => {
      if (ending !== undefined) throw new HoldfastError('ENDED', `The driver ${name} has ended already`);
      return (starting ??= start());
    },
    end: () => (ending ??= finish()),
  };
}

const grantingFunctions: readonly string[] = [
  'acquire',
  'extend',
  'shrink',
  'reserve',
  'resume',
  'accept',
  'adopt',
];
const plainFunctions: readonly string[] = ['mapRequest', 'notes'];

/**
 * The same driver, except that whatever its functions throw is a `HoldfastError`. A driver in a plain folder
 * cannot import that class, so any error with one of our codes (`error.code = 'IN_USE'`) is taken for it.
 */
function withErrorsOfOneClass(driver: Driver, name: string): Driver {
  const wrapped: Record<string, unknown> = {};
  for (const key of [...minimumFunctions, ...optionalFunctions]) {
    const original = driver[key] as ((...args: unknown[]) => unknown) | undefined;
    if (original === undefined) continue;
    const failed = (error: unknown): HoldfastError => asHoldfastError(error, name, `failed in \`${key}\``);
    wrapped[key] = plainFunctions.includes(key)
      ? (...args: unknown[]): unknown => {
          try {
            return original.apply(driver, args);
          } catch (error) {
            throw failed(error);
          }
        }
      : async (...args: unknown[]): Promise<unknown> => {
          try {
            const result = await original.apply(driver, args);
            return grantingFunctions.includes(key) ? requireGrant(result, name, key) : result;
          } catch (error) {
            throw failed(error);
          }
        };
  }
  return wrapped as unknown as Driver;
}

function asHoldfastError(error: unknown, name: string, what: string): HoldfastError {
  if (isHoldfastError(error)) return error;
  const { code, resource, mode, setting, holders, remedy } = (error ?? {}) as Partial<HoldfastError>;
  if (typeof code === 'string' && Object.hasOwn(errorCodes, code)) {
    return new HoldfastError(code, causeText(error), {
      cause: error,
      ...(typeof resource === 'string' ? { resource } : {}),
      ...(typeof mode === 'string' ? { mode } : {}),
      ...(typeof setting === 'string' ? { setting } : {}),
      ...(Array.isArray(holders) ? { holders } : {}),
      ...(typeof remedy === 'string' ? { remedy } : {}),
    });
  }
  if ((error as Partial<Error> | undefined)?.name === 'AbortError') {
    return new HoldfastError('ABORTED', `driver ${name}: ${causeText(error)}`, { cause: error });
  }
  return new HoldfastError('DRIVER_FAILED', `driver ${name} ${what}: ${causeText(error)}`, { cause: error });
}

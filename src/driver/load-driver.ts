/** Loads drivers from files: only such as nobody else can change, and only such as have the shape of a driver. */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { types } from 'node:util';
import { causeText, HoldfastError, isHoldfastError } from '../errors.js';
import type { FoundDriver } from './discovery.js';
import { requireFactory } from './driver-shape.js';
import type { Candidate } from './places.js';
import { requireSafeTree, safeRealPath } from './safe-path.js';

/**
 * Loads a driver that is not built in, after a look at who could have changed it. `shadowed`: another of its name comes first.
 * @throws HoldfastError DRIVER_UNSAFE, DRIVER_BROKEN
 */
export async function loadDriver(
  { name, from, file, folder }: Candidate,
  shadowed: boolean,
): Promise<FoundDriver> {
  const location = await safeLocation(name, file, folder);
  const factory = requireFactory(loadModule(name, location), name, location);
  return { name, from, location, about: factory.about, factory, shadowed };
}

/**
 * The default export of a module, also of one that was translated to CommonJS; of CommonJS else, what it exports. `require` and not `import`: the command runs from
 * compiled code, in which `import()` of a file that is found at run time is not possible. Node requires ES modules
 * since 20.19, except those that wait at their top level.
 */
function loadModule(name: string, location: string): unknown {
  try {
    const exported: unknown = createRequire(import.meta.url)(location);
    const { __esModule: translated, default: own } = (exported ?? {}) as Record<string, unknown>;
    return types.isModuleNamespaceObject(exported) || translated === true ? own : exported;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_REQUIRE_ASYNC_MODULE')
      throw broken(name, location, error);
    const message = `driver ${name} (${location}) cannot be loaded: it waits (\`await\`) at its top level`;
    throw new HoldfastError('DRIVER_BROKEN', message, {
      cause: error,
      remedy: 'Wait in `start`: that is called when the driver is needed.',
    });
  }
}

async function safeLocation(name: string, file: string, folder: string | undefined): Promise<string> {
  try {
    const location = await safeRealPath(file);
    if (folder !== undefined) await requireSafeTree(await safeRealPath(folder));
    // What it loads by a relative path is looked for beside the file itself, wherever symlinks lead to.
    await requireSafeTree(dirname(location));
    return location;
  } catch (error) {
    throw isHoldfastError(error) ? error : broken(name, file, error);
  }
}

function broken(name: string, location: string, cause: unknown): HoldfastError {
  const message = `driver ${name} (${location}) cannot be loaded: ${causeText(cause)}`;
  return new HoldfastError('DRIVER_BROKEN', message, { cause });
}

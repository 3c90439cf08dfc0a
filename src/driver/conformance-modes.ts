/** Every mode against every other, and what a driver makes of modes that it cannot tell apart. */
import assert from 'node:assert/strict';
import { compatible, modes } from '../vocabulary.js';
import type { LockRequest, Mode } from '../vocabulary.js';
import type { Driver, DriverAbout, MappedRequest } from './contract.js';
import { refusal } from './conformance-bench.js';
import type { Bench, CaseDefinition } from './conformance-bench.js';

export const modeCases: readonly CaseDefinition[] = [
  ...modes.flatMap((asked) => modes.map((held) => pairCase(asked, held))),
  {
    name: 'a mode is mapped to itself or to a stricter one',
    ability: 'modes',
    needs: ['mapRequest'],
    excludes: true,
    async run({ a, about, resource }) {
      const disk = await resource();
      const mapped = modes.map((mode) => mapping(a, about, { resource: disk, mode }));
      for (const [i, one] of modes.entries()) {
        for (const [j, other] of modes.entries()) {
          const x = mapped[i];
          const y = mapped[j];
          if (compatible(one, other) || x?.can !== true || y?.can !== true) continue;
          assert.ok(
            !compatible(x.mode, y.mode),
            `${one} and ${other} exclude each other; as ${x.mode} and ${y.mode} they do not`,
          );
        }
      }
    },
  },
];

function pairCase(asked: Mode, held: Mode): CaseDefinition {
  return {
    name: `${asked} is asked for while ${held} is held`,
    ability: 'modes',
    excludes: true,
    async run(bench) {
      await meet(bench, bench.b, asked, held);
      // Once more through the holder's own manager: one process is no excuse.
      await meet(bench, bench.a, asked, held);
    },
  };
}

async function meet(bench: Bench, second: Driver, asked: Mode, held: Mode): Promise<void> {
  const { a, about, acquire, owner } = bench;
  const disk = await bench.resource();
  const heldAs = mapping(a, about, { resource: disk, mode: held });
  const askedAs = mapping(second, about, { resource: disk, mode: asked });
  if (!heldAs.can) {
    await refusal(acquire(a, owner('first'), [disk], held));
    return bench.assertFree(second, [disk]);
  }
  const first = await acquire(a, owner('first'), [disk], held);
  if (!askedAs.can) {
    await refusal(acquire(second, owner('second'), [disk], asked));
  } else if (compatible(asked, held) && compatible(askedAs.mode, heldAs.mode)) {
    const both = await acquire(second, owner('second'), [disk], asked);
    await second.release(both);
  } else {
    await bench.assertInUse(second, [disk], asked);
  }
  // Whatever became of the second, the first one still has it.
  await bench.assertInUse(second, [disk], 'exclusive');
  await a.release(first);
  await bench.assertFree(second, [disk]);
}

/** What a driver makes of a request; one without `mapRequest` takes what `about.modes` lists, as it is. */
function mapping(driver: Driver, about: DriverAbout, request: LockRequest): MappedRequest {
  if (driver.mapRequest !== undefined) return driver.mapRequest(request);
  if (about.modes.includes(request.mode)) return { can: true, mode: request.mode };
  return { can: false, reason: `it has no mode ${request.mode}` };
}

/** Every mode against every other, and what a driver makes of modes that it cannot tell apart. */
import assert from 'node:assert/strict';
import { compatible, modes } from '../vocabulary.js';
import type { Mode } from '../vocabulary.js';
import type { Driver } from './contract.js';
import { mapRequest } from './map-request.js';
import type { Bench, CaseDefinition } from './conformance-bench.js';

export const modeCases: readonly CaseDefinition[] = [
  ...modes.flatMap((asked) => modes.map((held) => pairCase(asked, held))),
  {
    name: 'a resource is told by its identity, whatever it is called',
    ability: 'exclusion',
    excludes: true,
    async run(bench) {
      const [disk, other] = await bench.resources(2);
      assert.ok(disk !== undefined && other !== undefined);
      await bench.acquire(bench.a, bench.owner('first'), [disk]);
      await bench.assertInUse(bench.b, [{ ...disk, label: `${disk.label} by another name` }]);
      await bench.assertFree(bench.b, [{ ...other, label: disk.label }]);
    },
  },
  {
    name: 'a mode is mapped to itself or to a stricter one',
    ability: 'modes',
    excludes: true,
    async run({ a, about, resource }) {
      const disk = await resource();
      const mapped = modes.map((mode) => mapRequest(about, a, { resource: disk, mode }));
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
  const heldAs = mapRequest(about, a, { resource: disk, mode: held });
  const askedAs = mapRequest(about, second, { resource: disk, mode: asked });
  // As the manager does: what a driver cannot lock it is never asked for, and it is asked in its own modes.
  if (!heldAs.can) return;
  const first = await acquire(a, owner('first'), [disk], heldAs.mode);
  if (!askedAs.can) return;
  if (compatible(asked, held) && compatible(askedAs.mode, heldAs.mode)) {
    const both = await acquire(second, owner('second'), [disk], askedAs.mode);
    // Whichever of the two ends first, the other one has it still.
    const third = await acquire(second, owner('third'), [disk], askedAs.mode);
    await second.release(both);
    await a.release(first);
    await bench.assertInUse(a, [disk], 'exclusive');
    await second.release(third);
    await bench.assertFree(second, [disk]);
    return;
  }
  await bench.assertInUse(second, [disk], askedAs.mode);
  // Whatever became of the second, the first one still has it.
  await bench.assertInUse(second, [disk], 'exclusive');
  await a.release(first);
  await bench.assertFree(second, [disk]);
}

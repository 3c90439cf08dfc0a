/** Random sequences by three processes, each step compared with what the memory driver, the model, does. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { Grant } from '../../../src/driver/contract.js';
import memory from '../../../src/drivers/memory/memory.js';
import { isHoldfastError } from '../../../src/errors.js';
import { modes, type LockRequest, type Owner } from '../../../src/vocabulary.js';
import { fileResource, namedResource } from '../../beds/file-resource.js';
import { otherProcess } from '../../beds/other-process.js';
import { privateRuntime } from '../../beds/private-folder.js';

const folder = privateRuntime();
const settings = { libvirt_config_dirs: [] };
const processes = await Promise.all([0, 1, 2].map(() => otherProcess(settings)));
after(() => Promise.all(processes.map((process) => process.kill())));

const resources = [
  ...[0, 1, 2, 3].map((n) => fileResource(join(folder, `disk-${n}`))),
  ...[0, 1].map((n) => namedResource(`domain:${n}`)),
];

const owner = (n: number): Owner => ({
  kind: 'command',
  name: `owner-${n}`,
  uuid: randomUUID(),
  pid: processes[n]?.pid ?? 0,
  startTime: 1,
  host: 'here',
  hostId: 'here',
});

const requests = fc
  .dictionary(fc.integer({ min: 0, max: resources.length - 1 }).map(String), fc.constantFrom(...modes), {
    maxKeys: 4,
  })
  .map((wanted) =>
    Object.entries(wanted).flatMap(([index, mode]): LockRequest[] => {
      const resource = resources[Number(index)];
      return resource === undefined ? [] : [{ resource, mode }];
    }),
  );
const who = fc.integer({ min: 0, max: 2 });
const slot = fc.integer({ min: 0, max: 1 });
const step = fc.oneof(
  fc.record({ what: fc.constant('acquire' as const), who, slot, requests }),
  fc.record({ what: fc.constant('extend' as const), who, slot, requests }),
  fc.record({ what: fc.constant('shrink' as const), who, slot, requests }),
  fc.record({ what: fc.constant('release' as const), who, slot, requests }),
);

await test('three processes are granted and refused as the model is', { timeout: 240_000 }, async () => {
  const options = { signal: new AbortController().signal };
  let granted = 0;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 40 }), async (steps) => {
      const model = await memory.start({ space: randomUUID() });
      const owners = [0, 1, 2].map(owner);
      const grants = new Map<string, Grant>();
      const expect = async (work: () => Promise<Grant>, key: string): Promise<string> => {
        try {
          grants.set(key, await work());
          granted++;
          return 'granted';
        } catch (error) {
          if (!isHoldfastError(error, 'IN_USE')) throw error;
          refused++;
          return error.code;
        }
      };
      try {
        for (const { what, who, slot, requests } of steps) {
          const key = `${who}-${slot}`;
          const real = processes[who];
          const self = owners[who];
          assert.ok(real !== undefined && self !== undefined);
          const grant = grants.get(key);
          const held = grant?.requests.map(({ resource }) => resource.identity) ?? [];
          if (what === 'acquire' && grant === undefined) {
            const outcome = await expect(() => model.acquire(self, requests, options), key);
            assert.equal(await real.acquire(key, requests), outcome);
          } else if (what === 'extend' && grant !== undefined) {
            const added = requests.filter(({ resource }) => !held.includes(resource.identity));
            const outcome = await expect(
              async () => (await model.extend?.(grant, self, added, options)) ?? grant,
              key,
            );
            assert.equal(await real.extend(key, added), outcome);
          } else if (what === 'shrink' && grant !== undefined) {
            const identities = requests
              .map(({ resource }) => resource.identity)
              .filter((id) => held.includes(id));
            grants.set(key, (await model.shrink?.(grant, identities)) ?? grant);
            assert.equal(await real.shrink(key, identities), 'done');
          } else if (what === 'release' && grant !== undefined) {
            await model.release(grant);
            grants.delete(key);
            assert.equal(await real.release(key), 'done');
          }
        }
      } finally {
        for (const key of grants.keys()) await processes[Number(key[0])]?.release(key);
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(granted > 100 && refused > 50, `a test of little: ${granted} granted, ${refused} refused`);
});

/**
 * A lock driver of the first generation, with the guaranteed minimum and nothing else.
 *
 * FROZEN. This file is never changed, whatever becomes of the contract: as long as it passes the conformance
 * suite, every driver that was ever written still works. If a test of it fails, mend the contract.
 */
import { existsSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const fileOf = (folder, identity) => join(folder, Buffer.from(identity).toString('hex'));

export default {
  about: {
    name: 'first-generation',
    reach: 'host',
    modes: ['exclusive'],
    guarantees: ['One holder for each resource, among those that use the same folder.'],
    doesNotGuarantee: ['A lock outlives a holder that was killed.'],
    supervise: true,
  },
  start(settings) {
    const { folder } = settings;
    if (typeof folder !== 'string') throw new Error('first-generation: the setting `folder` is missing');
    mkdirSync(folder, { recursive: true });
    const files = new WeakMap();

    return {
      async acquire(owner, requests) {
        const taken = [];
        try {
          for (const { resource, mode } of requests) {
            if (mode !== 'exclusive') {
              throw Object.assign(new Error(`first-generation has no mode ${mode}`), { code: 'CANNOT_LOCK' });
            }
            const file = fileOf(folder, resource.identity);
            try {
              const text = JSON.stringify({ guest: owner.name, uuid: owner.uuid, pid: owner.pid });
              writeFileSync(file, text, { flag: 'wx', mode: 0o600 });
            } catch (error) {
              if (error.code !== 'EEXIST') throw error;
              throw Object.assign(new Error(`${resource.label} is in use`), {
                code: 'IN_USE',
                resource: resource.label,
              });
            }
            taken.push(file);
          }
        } catch (error) {
          for (const file of taken) unlinkSync(file);
          throw error;
        }
        const grant = { requests, descriptors: [], tokens: {} };
        files.set(grant, taken);
        return grant;
      },
      async release(grant) {
        for (const file of files.get(grant) ?? []) unlinkSync(file);
        files.delete(grant);
      },
      async holders(resource) {
        const file = fileOf(folder, resource.identity);
        if (!existsSync(file)) return [];
        const owner = JSON.parse(readFileSync(file, 'utf8'));
        return [{ ...owner, through: ['a lock file'], evidence: [file] }];
      },
    };
  },
};

/**
 * Guarantees: nothing. Every request is granted to everyone.
 * Does not guarantee: that anybody is kept out, or that anybody is seen.
 * Depends on: nothing.
 *
 * For a host where something else already keeps writers apart, and for trying things out.
 */
import { defineDriver } from '../../driver/contract.js';
import { modes } from '../../vocabulary.js';

export default defineDriver(
  {
    name: 'nop',
    reach: 'none',
    modes,
    guarantees: [],
    doesNotGuarantee: ['anything: two programs can write to the same disk at once'],
    supervise: false,
  },
  () => ({
    acquire: async (_owner, requests) => ({
      requests,
      descriptors: [],
      tokens: {},
      notes: ['nothing is locked: the driver `nop` keeps nobody out'],
    }),
    release: async () => {},
    holders: async () => [],
    extend: async (grant, _owner, requests) => ({ ...grant, requests: [...grant.requests, ...requests] }),
    shrink: async (grant, identities) => ({
      ...grant,
      requests: grant.requests.filter(({ resource }) => !identities.includes(resource.identity)),
    }),
    mapRequest: ({ mode }) => ({ can: true, mode, note: 'not really locked (driver nop)' }),
  }),
);

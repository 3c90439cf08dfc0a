/** What takes and changes nothing. */
import type { Static } from '@sinclair/typebox';
import type { FastifyInstance } from 'fastify';
import { version } from '../../version.js';
import type { DriverAnswer, HealthAnswer, LockAnswer } from './answer-schemas.js';
import type { ApiContext } from './api-context.js';
import { guestInput } from './guest-body.js';
import { NoQuery, type PlanBody } from './request-schemas.js';
import { failures, listOf, schema } from './route-schemas.js';
import { untilGone } from './until-gone.js';

const startedAt = new Date().toISOString();

export function addLookRoutes(app: FastifyInstance, context: ApiContext): void {
  const { manager, book, lockd, metrics, restarts } = context;

  app.get(
    '/v1/health',
    {
      schema: {
        summary: 'Whether it serves.',
        querystring: NoQuery,
        response: { 200: schema('Health'), ...failures },
      },
    },
    async (): Promise<Static<typeof HealthAnswer>> => {
      const { locks, connections } = lockd.counts();
      const { pid } = process;
      return {
        status: 'ok',
        version,
        pid,
        since: startedAt,
        restarts,
        holds: book.size,
        locks,
        connections,
      };
    },
  );

  let drivers: Promise<Static<typeof DriverAnswer>[]> | undefined;
  app.get(
    '/v1/drivers',
    {
      schema: {
        summary: 'The drivers that holds are locked with, in their order.',
        querystring: NoQuery,
        response: { 200: listOf('Driver'), ...failures },
      },
    },
    async () => {
      // To ask a driver what it can it has to be started: once is enough.
      drivers ??= driversOf(context);
      drivers.catch(() => (drivers = undefined));
      return drivers;
    },
  );

  app.get(
    '/v1/locks',
    {
      schema: {
        summary: 'What libvirt has locked.',
        querystring: NoQuery,
        response: { 200: listOf('Lock'), ...failures },
      },
    },
    async (): Promise<LockAnswer[]> =>
      (await lockd.locks()).map(({ lockspace, name, shared, since, owners }) => ({
        lockspace,
        name,
        mode: shared ? 'shared' : 'exclusive',
        since,
        owners: owners.map(({ name, uuid, id, pid, startTime }) => ({
          name,
          uuid: dashed(uuid),
          id,
          pid,
          startTime,
        })),
      })),
  );

  app.post<{ Body: PlanBody }>(
    '/v1/plan',
    {
      schema: {
        summary: 'What would be locked, and whether it would be granted now.',
        body: schema('PlanBody'),
        response: { 200: schema('Plan'), ...failures },
      },
    },
    async ({ body }, reply) => {
      const { allowUnlocked } = body;
      const options = allowUnlocked === undefined ? {} : { allowUnlocked };
      return manager.plan(guestInput(body), { ...options, signal: untilGone(reply) });
    },
  );

  app.post<{ Body: PlanBody }>(
    '/v1/who',
    {
      schema: {
        summary: 'Who holds or uses what a guest is made of.',
        body: schema('WhoBody'),
        response: { 200: listOf('Use'), ...failures },
      },
    },
    async ({ body }, reply) => manager.who(guestInput(body), { signal: untilGone(reply) }),
  );

  app.get(
    '/metrics',
    { schema: { summary: 'For Prometheus.', querystring: NoQuery, produces: ['text/plain'] } },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()),
  );
}

async function driversOf({ manager, drivers }: ApiContext): Promise<Static<typeof DriverAnswer>[]> {
  const all = await manager.drivers(drivers);
  return drivers.flatMap((name) => {
    const found = all.find((one) => one.name === name && !one.shadowed);
    if (found?.factory === undefined) return [];
    const { reach, modes, guarantees, doesNotGuarantee } = found.factory.about;
    const abilities = [...(found.abilities ?? [])];
    return [
      {
        name,
        reach,
        modes: [...modes],
        abilities,
        guarantees: [...guarantees],
        doesNotGuarantee: [...doesNotGuarantee],
      },
    ];
  });
}

/** libvirt's 32 digits as everybody writes them. */
function dashed(uuid: string): string {
  const parts = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/.exec(uuid)?.slice(1);
  return parts === undefined ? uuid : parts.join('-');
}

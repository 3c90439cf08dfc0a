/** What takes and changes nothing. */
import type { Static } from '@sinclair/typebox';
import type { FastifyInstance } from 'fastify';
import { version } from '../../version.js';
import type { DriverAnswer, HealthAnswer } from './answer-schemas.js';
import type { ApiContext } from './api-context.js';
import { guestInput, requireOwnLibvirt } from './guest-body.js';
import { lockAnswers } from './lock-answers.js';
import { withGuests } from './lockd-holders.js';
import { peerOf } from './peer.js';
import { NoQuery, type PlanBody } from './request-schemas.js';
import { failures, listOf, schema } from './route-schemas.js';
import { untilGone } from './until-gone.js';

const startedAt = new Date().toISOString();

export function addLookRoutes(app: FastifyInstance, context: ApiContext): void {
  const { manager, book, lockd, metrics, restarts, lookers } = context;
  const locks = (): ReturnType<typeof lockAnswers> => lockAnswers(lockd);

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
    locks,
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
    async ({ body, raw }, reply) => {
      requireOwnLibvirt(body, peerOf(raw.socket, lookers));
      const { allowUnlocked, explain } = body;
      const options = {
        ...(allowUnlocked === undefined ? {} : { allowUnlocked }),
        ...(explain === undefined ? {} : { explain }),
      };
      const plan = await manager.plan(guestInput(body), { ...options, signal: untilGone(reply) });
      const states = await Promise.all(
        plan.states.map(async (state) => ({ ...state, holders: await withGuests(state.holders, locks) })),
      );
      return { ...plan, states };
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
    async ({ body, raw }, reply) => {
      requireOwnLibvirt(body, peerOf(raw.socket, lookers));
      const uses = await manager.who(guestInput(body), { signal: untilGone(reply) });
      return Promise.all(
        uses.map(async (use) => ({ ...use, holders: await withGuests(use.holders, locks) })),
      );
    },
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

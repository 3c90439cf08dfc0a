/** Holds: taken, shown, changed and given back. */
import type { FastifyInstance, FastifyReply } from 'fastify';
import { isHoldfastError } from '../../errors.js';
import type { LockOptions } from '../../index.js';
import { readProcess } from '../../system/process.js';
import type { ApiContext } from './api-context.js';
import { guestInput } from './guest-body.js';
import { holdAnswer } from './hold-answer.js';
import { factsOf, type BookedHold } from './booked-hold.js';
import { lockAnswers } from './lock-answers.js';
import { withGuestsNamed } from './lockd-holders.js';
import { ownerProcess, peerOf } from './peer.js';
import {
  EmptyBody,
  HoldParams,
  NoQuery,
  type AcquireBody,
  type ExtendBody,
  type HandOverBody,
  type ShrinkBody,
} from './request-schemas.js';
import { failures, listOf, schema } from './route-schemas.js';
import { requireSameFiles } from './same-files.js';
import { untilGone } from './until-gone.js';

const change = { access: 'change' } as const;
const created = 201;
const noContent = 204;

export function addHoldRoutes(app: FastifyInstance, context: ApiContext): void {
  const { book } = context;

  app.get(
    '/v1/holds',
    {
      schema: {
        summary: 'What is held through this API.',
        querystring: NoQuery,
        response: { 200: listOf('Hold'), ...failures },
      },
    },
    async () => book.list().map(holdAnswer),
  );

  app.get<{ Params: HoldParams }>(
    '/v1/holds/:id',
    { schema: { summary: 'One hold.', params: HoldParams, response: { 200: schema('Hold'), ...failures } } },
    async ({ params }) => holdAnswer(book.get(params.id)),
  );

  app.post<{ Body: AcquireBody }>(
    '/v1/holds',
    {
      config: change,
      schema: {
        summary: 'Lock everything that a guest uses, or nothing.',
        description:
          'The hold ends with its owner: the process that asks, or the one that is named; and with whoever has the ' +
          'witness locked. Who closes the connection before the answer has nothing. With a witness, and by the same ' +
          'owner after a restart of the daemon, it can be asked for again, and is given as it is.',
        body: schema('AcquireBody'),
        response: { 201: schema('Hold'), ...failures },
      },
    },
    async ({ body, raw }, reply) => {
      const peer = peerOf(raw.socket, context.lookers);
      const process = ownerProcess(peer, body.owner);
      const program = readProcess(process.pid)?.exe;
      const owner = askingOwner(body, process.pid, program);
      const timed = context.metrics.startAcquire();
      const signal = untilGone(reply);
      try {
        const booked = await book.acquire({
          input: guestInput(body, program),
          process,
          witness: body.witness,
          onLost: body.onLost,
          options: {
            ...waitingOptions(body, signal, context, { owner }),
            ...(body.command === undefined ? {} : { command: body.command }),
          },
        });
        try {
          // What libvirt says of a domain is written from its own point of view.
          if (body.domain === undefined) requireSameFiles(peer.pid, booked.hold.requests);
        } catch (error) {
          await book.takeBack(booked);
          throw error;
        }
        timed('granted');
        takeBackIfUnheard(booked, signal, context);
        return await reply.status(created).send(holdAnswer(booked));
      } catch (error) {
        const isRefusal = isHoldfastError(error, 'IN_USE') || isHoldfastError(error, 'TIMEOUT');
        timed(isRefusal ? 'refused' : 'failed');
        throw await refusalTold(error, context, { owner });
      }
    },
  );

  app.post<{ Params: HoldParams; Body: ExtendBody }>(
    '/v1/holds/:id/extend',
    {
      config: change,
      schema: {
        summary: 'Add disks or leases, all of them or none; what it has already is no error.',
        params: HoldParams,
        body: schema('ExtendBody'),
        response: { 200: schema('Hold'), ...failures },
      },
    },
    async ({ params, body, raw }, reply) => {
      const { pid } = peerOf(raw.socket, context.lookers);
      const before = new Set(book.get(params.id).hold.requests.map(({ resource }) => resource.identity));
      const { hold, owner } = factsOf(book.get(params.id).hold);
      const who = { hold, owner };
      const options = waitingOptions(body, untilGone(reply), context, who);
      const booked = await book.extend(params.id, guestInput(body), options).catch(async (error: unknown) => {
        throw await refusalTold(error, context, who);
      });
      const added = booked.hold.requests.filter(({ resource }) => !before.has(resource.identity));
      try {
        if (body.domain === undefined) requireSameFiles(pid, added);
      } catch (error) {
        await book.shrink(
          params.id,
          added.map(({ resource }) => resource.identity),
        );
        throw error;
      }
      return holdAnswer(booked);
    },
  );

  app.post<{ Params: HoldParams; Body: ShrinkBody }>(
    '/v1/holds/:id/shrink',
    {
      config: change,
      schema: {
        summary: 'Give back some of it.',
        params: HoldParams,
        body: schema('ShrinkBody'),
        response: { 200: schema('Hold'), ...failures },
      },
    },
    async ({ params, body }) => holdAnswer(await book.shrink(params.id, body.names)),
  );

  for (const [what, summary] of [
    ['suspend', 'Give the locks of a paused guest back; only where the drivers can.'],
    ['resume', 'Take them again, or what is lost; LOST if somebody else had one meanwhile.'],
  ] as const) {
    app.post<{ Params: HoldParams }>(
      `/v1/holds/:id/${what}`,
      {
        config: change,
        schema: {
          summary,
          params: HoldParams,
          body: EmptyBody,
          response: { 200: schema('Hold'), ...failures },
        },
        preValidation: async (request) => {
          request.body ??= {};
        },
      },
      async ({ params }, reply: FastifyReply) =>
        holdAnswer(
          what === 'suspend' ? await book.suspend(params.id) : await book.resume(params.id, untilGone(reply)),
        ),
    );
  }

  app.post<{ Params: HoldParams; Body: HandOverBody }>(
    '/v1/holds/:id/hand-over',
    {
      config: change,
      schema: {
        summary: "Make it another process's; nothing about its locks changes.",
        params: HoldParams,
        body: schema('HandOverBody'),
        response: { 200: schema('Hold'), ...failures },
      },
    },
    async ({ params, body, raw }) => {
      const process = ownerProcess(peerOf(raw.socket, context.lookers), body);
      return holdAnswer(await book.handOver(params.id, process, body.witness));
    },
  );

  app.delete<{ Params: HoldParams }>(
    '/v1/holds/:id',
    {
      config: change,
      schema: { summary: 'Give it all back.', params: HoldParams, response: failures },
    },
    async ({ params }, reply) => {
      await book.release(params.id);
      return reply.status(noContent).send();
    },
  );
}

/** Who asks, as events name owners. What the XML says of a guest is known only when it has a hold. */
function askingOwner(
  { owner, name }: AcquireBody,
  pid: number,
  program: string | undefined,
): Readonly<Record<string, unknown>> {
  const uuid = owner?.uuid;
  const kind = owner?.kind ?? (uuid === undefined ? 'command' : 'domain');
  return {
    kind,
    name: owner?.name ?? name ?? program ?? 'command',
    ...(uuid === undefined ? {} : { uuid }),
    pid,
  };
}

/** What is thrown instead: a refusal that whoever listens to events has heard of. */
async function refusalTold(
  error: unknown,
  { events, lockd }: ApiContext,
  who: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  if (!isHoldfastError(error, 'IN_USE') && !isHoldfastError(error, 'TIMEOUT')) return error;
  events.add('refused', { ...who, resource: error.resource, code: error.code });
  return withGuestsNamed(error, () => lockAnswers(lockd));
}

function waitingOptions(
  { wait, allowUnlocked, explain }: Pick<ExtendBody, 'wait' | 'allowUnlocked' | 'explain'>,
  signal: AbortSignal,
  { events }: ApiContext,
  who: Readonly<Record<string, unknown>>,
): Pick<LockOptions, 'wait' | 'signal' | 'allowUnlocked' | 'explain' | 'onWait'> {
  return {
    signal,
    ...(wait === undefined ? {} : { wait }),
    ...(allowUnlocked === undefined ? {} : { allowUnlocked }),
    ...(explain === undefined ? {} : { explain }),
    onWait: ({ refusal: { resource, holders } }) => {
      events.add('waiting', { ...who, resource, holders });
      return false;
    },
  };
}

/** A hold that nobody was told of would last as long as its owner, who does not know that he has it. */
function takeBackIfUnheard(booked: BookedHold, signal: AbortSignal, { book, events }: ApiContext): void {
  const takeBack = (): void =>
    void book
      .takeBack(booked)
      .catch((error: unknown) => events.add('lost', { hold: booked.hold.id, reason: String(error) }));
  if (signal.aborted) takeBack();
  else signal.addEventListener('abort', takeBack, { once: true });
}

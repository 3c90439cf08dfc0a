/** The API's server: HTTP over a unix socket, JSON, strict schemas, and an OpenAPI document of itself. */
import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance, type FastifySchemaValidationError } from 'fastify';
import { HoldfastError } from '../../errors.js';
import { version } from '../../version.js';
import * as answers from './answer-schemas.js';
import type { ApiContext } from './api-context.js';
import { apiFailure } from './api-errors.js';
import { addEventRoute } from './event-route.js';
import { addHoldRoutes } from './hold-routes.js';
import { addLookRoutes } from './look-routes.js';
import { LookingConnections } from './looking-connections.js';
import { peerOf, type Access } from './peer.js';
import * as requests from './request-schemas.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a peer has to be allowed; the least is to look. */
    access?: Access;
  }
}

/** 16 MiB of XML with what JSON adds to it. */
const bodyBytesMax = 17 * 1024 * 1024;
/** From the first byte of a request to its last one. */
const requestMsMax = 30_000;
/** Each costs some 20 KiB; a host has some hundred guests. */
const connectionsMax = 4_096;
/** Of these, those of one user who may only look: the others are for who locks. */
const lookingMax = 64;

/** What the document calls them. */
const schemas = {
  AcquireBody: requests.AcquireBody,
  ExtendBody: requests.ExtendBody,
  ShrinkBody: requests.ShrinkBody,
  HandOverBody: requests.HandOverBody,
  PlanBody: requests.PlanBody,
  WhoBody: requests.WhoBody,
  Hold: answers.HoldAnswer,
  Lock: answers.LockAnswer,
  Plan: answers.PlanAnswer,
  Use: answers.UseAnswer,
  Driver: answers.DriverAnswer,
  Health: answers.HealthAnswer,
  Error: answers.ErrorAnswer,
} as const;

/** A server that does not listen yet. */
export async function openServer(context: ApiContext): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: requestMsMax,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
  });
  app.server.maxConnections = connectionsMax;
  // Answers are what we made them; their schemas are for the document, and for the tests that compare the two.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'holdfastd', version, description: 'The API of the lock daemon, on its unix socket.' },
    },
    refResolver: { buildLocalReference: ({ $id }) => (typeof $id === 'string' ? $id : 'unnamed') },
  });
  for (const [name, schema] of Object.entries(schemas)) app.addSchema({ ...schema, $id: name });
  const looking = new LookingConnections(lookingMax, (socket) => peerOf(socket, context.lookers));
  app.server.on('connection', (socket) => looking.add(socket));
  app.addHook('onRequest', async (request, reply) => {
    const { socket } = request.raw;
    const peer = peerOf(socket, context.lookers);
    if (looking.isTooMany(socket)) {
      void reply.header('connection', 'close');
      throw new HoldfastError(
        'NOT_PERMITTED',
        `user ${peer.uid} has ${lookingMax} connections already, and a user who may only look can have no more`,
        { remedy: 'Close some of them, and try again.' },
      );
    }
    if (request.routeOptions.config.access !== 'change' || peer.may === 'change') return;
    throw new HoldfastError('NOT_PERMITTED', 'members of the group may look, and lock nothing', {
      remedy: 'Ask as root or as the user whom the daemon runs as.',
    });
  });
  app.setSchemaErrorFormatter(
    (errors, where) => new Error(errors.map((error) => faultText(error, where)).join('; ')),
  );
  app.setErrorHandler(async (thrown, _request, reply) => {
    const { status, error } = apiFailure(thrown);
    return reply.status(status).send(error.toJSON());
  });
  app.setNotFoundHandler(async (request, reply) => {
    const error = new HoldfastError('USAGE', `there is no ${request.method} ${request.url}`, {
      remedy: 'GET /openapi.json says what there is.',
    });
    return reply.status(404).send(error.toJSON());
  });
  addLookRoutes(app, context);
  addHoldRoutes(app, context);
  addEventRoute(app, context);
  app.get('/openapi.json', { schema: { summary: 'This document.' } }, async () => app.swagger());
  await app.ready();
  return app;
}

/** `body/disks/0 must be object`; where the name of a field is not part of the message, with it. */
function faultText(
  { instancePath, message = 'is wrong', params }: FastifySchemaValidationError,
  where: string,
): string {
  const extra = params['additionalProperty'];
  return `${where}${instancePath} ${message}${typeof extra === 'string' ? `: '${extra}'` : ''}`;
}

/** Serves the connections of a listening socket, which stays the keeper's. */
export async function listenOn(app: FastifyInstance, fd: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    app.server.once('error', reject);
    app.server.listen({ fd }, resolve);
  });
}

/** What happens, as server-sent events (html.spec.whatwg.org, "Server-sent events"). */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { ApiContext } from './api-context.js';
import type { DaemonEvent } from './event-log.js';
import { NoQuery } from './request-schemas.js';
import { failures } from './route-schemas.js';

/** So that either end sees when the other is gone. */
const pulseMs = 15_000;
/** Who does not read is let go, and can ask again from the last event that he has. */
const unsentBytesMax = 1024 * 1024;

export function addEventRoute(app: FastifyInstance, { events }: ApiContext): void {
  const open = new Set<ServerResponse>();
  app.addHook('preClose', async () => {
    for (const response of open) response.end();
  });
  app.get(
    '/v1/events',
    {
      schema: {
        summary: 'What happens from now on, as server-sent events.',
        description:
          'Each has a name, and JSON with `id`, `time` and what is known of it. After `Last-Event-ID` what is ' +
          'remembered since then comes first.',
        produces: ['text/event-stream'],
        querystring: NoQuery,
        response: failures,
      },
    },
    async (request, reply) => {
      const last = request.headers['last-event-id'];
      reply.hijack();
      const response = reply.raw;
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.write(': connected\n\n');
      open.add(response);
      const send = (event: DaemonEvent): void => {
        response.write(eventText(event));
        if (response.writableLength > unsentBytesMax) response.destroy();
      };
      if (typeof last === 'string' && /^\d{1,15}$/.test(last)) events.after(Number(last)).forEach(send);
      const leave = events.listen(send);
      const pulse = setInterval(() => response.write(': still here\n\n'), pulseMs);
      response.once('close', () => {
        clearInterval(pulse);
        leave();
        open.delete(response);
      });
    },
  );
}

function eventText(event: DaemonEvent): string {
  return `id: ${event.id}\nevent: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** What happens, as server-sent events (html.spec.whatwg.org, "Server-sent events"). */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { ApiContext } from './api-context.js';
import type { DaemonEvent, EventLog } from './event-log.js';
import { NoQuery } from './request-schemas.js';
import { failures } from './route-schemas.js';

/** So that either end sees when the other is gone. */
const pulseMs = 15_000;

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
      // Whoever goes away in the middle of a line is no error of ours.
      response.on('error', () => undefined);
      const send = sender(response, events, typeof last === 'string' ? last : '');
      send();
      const leave = events.listen(send);
      const pulse = setInterval(() => response.destroyed || response.write(': still here\n\n'), pulseMs);
      response.once('close', () => {
        clearInterval(pulse);
        leave();
        open.delete(response);
      });
    },
  );
}

/**
 * Sends all that happened since it was called last. Who reads slowly is waited for, and nothing is stored for him: he gets
 * what is remembered by then; who has missed some of it is let go, and learns by that how things stand now.
 */
function sender(response: ServerResponse, events: EventLog, last: string): () => void {
  const asked = /^\d{1,15}$/.test(last) ? Number(last) : events.lastId;
  // An id of an earlier process means all of them.
  let sentId = asked > events.lastId ? 0 : asked;
  // What was forgotten before he asked is not what he was too slow for.
  let gapIsHis = false;
  let isFull = false;
  const send = (): void => {
    if (isFull || response.destroyed || response.writableEnded) return;
    for (const event of events.after(sentId)) {
      if (gapIsHis && event.id !== sentId + 1) return void response.destroy();
      sentId = event.id;
      gapIsHis = true;
      if (response.write(eventText(event))) continue;
      isFull = true;
      return;
    }
    gapIsHis = true;
  };
  response.on('drain', () => {
    isFull = false;
    send();
  });
  return send;
}

function eventText(event: DaemonEvent): string {
  return `id: ${event.id}\nevent: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`;
}

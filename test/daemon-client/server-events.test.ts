import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { serverEvents, type ServerEvent } from '../../src/daemon-client/server-events.js';

async function readAll(parts: readonly Buffer[]): Promise<ServerEvent[]> {
  async function* stream(): AsyncGenerator<Buffer> {
    yield* parts;
  }
  const events: ServerEvent[] = [];
  for await (const event of serverEvents(stream())) events.push(event);
  return events;
}

test('fields, comments and lines of every kind', async () => {
  const text =
    ': hello\n\nevent: released\ndata: {"a":1}\n\ndata:one\r\ndata: two\r\n\r\nid: 7\nretry: 10\n\nevent: cut off\ndata: x\n';
  assert.deepEqual(await readAll([Buffer.from(text)]), [
    { event: 'released', data: '{"a":1}' },
    { event: 'message', data: 'one\ntwo' },
  ]);
});

test('however the bytes come', async () => {
  const event = fc.record(
    { event: fc.stringMatching(/^[a-z]{1,8}$/), data: fc.json().filter((text) => !/[\r\n]/.test(text)) },
    { noNullPrototype: true },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 5 }), fc.array(fc.nat(200)), async (events, cuts) => {
      const bytes = Buffer.from(
        events.map((one) => `event: ${one.event}\ndata: ${one.data}\n\n`).join(': idle\n\n'),
      );
      const ends = [...new Set([0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length])];
      const sorted = ends.toSorted((a, b) => a - b);
      const parts = sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
      assert.deepEqual(await readAll(parts), events);
    }),
  );
});

test('an event without an end is not kept', async () => {
  const part = Buffer.alloc(1024 * 1024, 'x');
  await assert.rejects(readAll(Array.from({ length: 32 }, () => part)), /more than 16 MiB/);
});

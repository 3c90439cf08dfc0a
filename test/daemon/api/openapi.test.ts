/** The document that the API gives of itself, compared with the routes and with what they really answer. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FormatRegistry, type TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import * as answers from '../../../src/daemon/api/answer-schemas.js';
import { eventNames } from '../../../src/daemon/api/event-log.js';
import { commandFolder } from '../../beds/command.js';
import { LockClient } from '../../beds/lock-client.js';
import { RunningDaemon } from '../../beds/running-daemon.js';

interface Operation {
  readonly summary?: string;
}
interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

const folder = commandFolder();
const disk = join(folder, 'disk.img');
const guest = { name: 'web1', uuid: '44444444-2222-4333-8444-555555555555' };
let daemon: RunningDaemon;
let document: Document;

before(async () => {
  writeFileSync(disk, 'data');
  daemon = await RunningDaemon.start(folder);
  document = (await daemon.api.get('/openapi.json')).data as Document;
});
after(() => daemon?.stop());

const wanted = [
  'GET /v1/health',
  'GET /v1/drivers',
  'GET /v1/holds',
  'POST /v1/holds',
  'GET /v1/holds/{id}',
  'DELETE /v1/holds/{id}',
  'POST /v1/holds/{id}/extend',
  'POST /v1/holds/{id}/shrink',
  'POST /v1/holds/{id}/suspend',
  'POST /v1/holds/{id}/resume',
  'POST /v1/holds/{id}/hand-over',
  'GET /v1/locks',
  'POST /v1/plan',
  'POST /v1/who',
  'GET /v1/events',
  'GET /metrics',
  'GET /openapi.json',
];

test('it has every route, each with a summary, and every reference leads somewhere', () => {
  assert.match(document.openapi, /^3\./);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  );
  assert.deepEqual(new Set(operations.map(({ name }) => name)), new Set(wanted));
  assert.equal(operations.length, wanted.length);
  for (const { name, operation } of operations) assert.ok((operation.summary ?? '').length > 0, name);
  for (const [, name = ''] of JSON.stringify(document).matchAll(
    /"\$ref":"#\/components\/schemas\/([^"]+)"/g,
  )) {
    assert.ok(name in document.components.schemas, name);
  }
});

test('docs/api.md has every route, in the document’s words, and every event', () => {
  const text = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { summary = '' }] of Object.entries(methods)) {
      const row = new RegExp(
        `^\\| \`${method.toUpperCase()} ${path.replaceAll(/[{}./]/g, '\\$&')}\` +\\| (?<summary>.*?) +\\|$`,
        'm',
      );
      assert.equal(row.exec(text)?.groups?.['summary'], summary, path);
    }
  }
  for (const name of eventNames) assert.ok(text.includes(`\`${name}\``), name);
});

test('what is answered is what the document says', async () => {
  FormatRegistry.Set('date-time', (text) => !Number.isNaN(Date.parse(text)));
  const { api } = daemon;
  const isA = (name: string, schema: TSchema, data: unknown): void => {
    // The document has the same schema under its name.
    const said = JSON.parse(JSON.stringify(schema)) as { readonly required: unknown };
    assert.deepEqual((document.components.schemas[name] as typeof said).required, said.required, name);
    const wrong = [...Value.Errors(schema, data)].map(({ path, message }) => `${path}: ${message}`);
    assert.deepEqual(wrong, [], `${name} ${JSON.stringify(data)}`);
  };
  const all = (name: string, schema: TSchema, data: unknown): void => {
    assert.ok(Array.isArray(data) && data.length > 0, name);
    for (const one of data as unknown[]) isA(name, schema, one);
  };
  const taken = await api.post('/v1/holds', { disks: [{ path: disk }], owner: guest });
  isA('Hold', answers.HoldAnswer, taken.data);
  const refused = await api.post('/v1/holds', { disks: [{ path: disk }] });
  isA('Error', answers.ErrorAnswer, refused.data);
  isA('Health', answers.HealthAnswer, (await api.get('/v1/health')).data);
  all('Driver', answers.DriverAnswer, (await api.get('/v1/drivers')).data);
  all('Hold', answers.HoldAnswer, (await api.get('/v1/holds')).data);
  isA('Plan', answers.PlanAnswer, (await api.post('/v1/plan', { disks: [{ path: disk }] })).data);
  all('Use', answers.UseAnswer, (await api.post('/v1/who', { disks: [{ path: disk }] })).data);
  const at = `/v1/holds/${taken.data.id}`;
  isA('Hold', answers.HoldAnswer, (await api.post(`${at}/hand-over`, { pid: process.pid })).data);
  const client = await LockClient.connect(daemon.lockdSocket);
  const other = join(folder, 'other.img');
  writeFileSync(other, 'data');
  const owner = { uuid: Buffer.alloc(16, 7), name: 'web2', id: 2, pid: process.pid };
  await client.call({ call: 'register', owner, flags: 0 });
  await client.call({ call: 'acquire', path: '', name: other, flags: 0 });
  all('Lock', answers.LockAnswer, (await api.get('/v1/locks')).data);
  await client.call({ call: 'release', path: '', name: other, flags: 0 });
  client.close();
  await api.ask('DELETE', at);
  isA('Error', answers.ErrorAnswer, (await api.get(at)).data);
});

/** One request to the daemon's API, against servers that do not always answer as they should. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { askPersistently, isNobodyListening } from '../../src/daemon-client/api-request.js';
import { HoldfastError, isHoldfastError } from '../../src/errors.js';
import { privateFolder } from '../beds/private-folder.js';

const folder = privateFolder();
const servers: Server[] = [];
after(() => servers.forEach((server) => server.closeAllConnections()));

async function serve(name: string, answer: RequestListener): Promise<string> {
  const socket = join(folder, name);
  const server = createServer(answer);
  servers.push(server);
  server.listen(socket);
  await once(server, 'listening');
  server.unref();
  return socket;
}

async function refused(asked: Parameters<typeof askPersistently>[0]): Promise<HoldfastError> {
  const error = await askPersistently(asked).then(
    () => assert.fail('it was answered'),
    (thrown: unknown) => thrown,
  );
  assert.ok(isHoldfastError(error), String(error));
  return error;
}

test('what is asked arrives, and the answer comes back', async () => {
  const socket = await serve('echo', (request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      const { method, url, headers } = request;
      response.end(JSON.stringify({ method, url, body: JSON.parse(body), type: headers['content-type'] }));
    });
  });
  const asked = { socket, method: 'POST', path: '/v1/plan', body: { name: 'ü' } } as const;
  assert.deepEqual(await askPersistently(asked), {
    method: 'POST',
    url: '/v1/plan',
    body: { name: 'ü' },
    type: 'application/json',
  });
});

test('an answer without a body is undefined', async () => {
  const socket = await serve('empty', (_, response) => response.writeHead(204).end());
  assert.equal(await askPersistently({ socket, method: 'DELETE', path: '/' }), undefined);
});

test('an error of the daemon is thrown as it was there', async () => {
  const sent = new HoldfastError('IN_USE', 'a is in use', {
    resource: 'a',
    mode: 'exclusive',
    holders: [{ guest: 'web1', pid: 7, through: ['Holdfast'], evidence: [] }],
    remedy: 'virsh shutdown web1',
  });
  const socket = await serve('error', (_, response) => response.writeHead(409).end(JSON.stringify(sent)));
  const error = await refused({ socket, method: 'POST', path: '/' });
  assert.deepEqual(error.toJSON(), sent.toJSON());
});

test('an error that is none of ours says what was answered', async () => {
  for (const [name, text] of [
    ['page', '<html>'],
    ['null', 'null'],
    ['code', '{"code":"constructor","message":"no"}'],
  ] as const) {
    const socket = await serve(name, (_, response) => response.writeHead(502).end(text));
    const error = await refused({ socket, method: 'GET', path: '/v1/holds' });
    assert.equal(error.code, 'DRIVER_FAILED');
    assert.match(error.message, /answers GET \/v1\/holds with status 502/);
  }
});

test('what is no JSON is no answer', async () => {
  const socket = await serve('text', (_, response) => response.end('{"a":'));
  assert.match((await refused({ socket, method: 'GET', path: '/' })).message, /what is no JSON/);
});

test('a connection that breaks before the answer, or in it, is made again', async () => {
  let calls = 0;
  const socket = await serve('breaking', (_, response) => {
    calls++;
    if (calls === 1) response.destroy();
    else if (calls === 2) response.write('[1,', () => response.destroy());
    else response.end('[1]');
  });
  assert.deepEqual(await askPersistently({ socket, method: 'GET', path: '/' }), [1]);
  assert.equal(calls, 3);
});

test('nobody listens: it is said, and what to do', async () => {
  const error = await refused({ socket: join(folder, 'missing'), method: 'GET', path: '/' });
  assert.equal(error.code, 'DRIVER_FAILED');
  assert.equal(error.exitCode, 69);
  assert.match(error.message, /holdfastd does not listen on .*missing/);
  assert.match(error.remedy, /holdfast serve/);
  assert.ok(isNobodyListening(error));
});

test('who does not answer is not waited for', async () => {
  const socket = await serve('silent', () => undefined);
  const error = await refused({ socket, method: 'GET', path: '/', answerMs: 50 });
  assert.match(error.message, /has not answered for 0.05 s/);
  assert.ok(!isNobodyListening(error));
});

test('who stops in the middle of his answer is not waited for either', async () => {
  const socket = await serve('halting', (_, response) => void response.write('['));
  const error = await refused({ socket, method: 'GET', path: '/', answerMs: 100 });
  assert.match(error.message, /has not answered for 0.1 s/);
});

test('giving up ends the connection', async () => {
  let closed: (() => void) | undefined;
  const gone = new Promise<void>((resolve) => (closed = resolve));
  const stop = new AbortController();
  const socket = await serve('waiting', (request) => {
    request.on('close', () => closed?.());
    stop.abort();
  });
  const error = await refused({ socket, method: 'GET', path: '/', signal: stop.signal });
  assert.equal(error.code, 'ABORTED');
  await gone;
  const early = await refused({ socket, method: 'GET', path: '/', signal: AbortSignal.abort() });
  assert.equal(early.code, 'ABORTED');
});

test('an answer without an end is not read to its end', async () => {
  const megabyte = Buffer.alloc(1024 * 1024, 'x');
  let sent = 0;
  const socket = await serve('endless', (_, response) => {
    const more = (): void => {
      if (response.destroyed) return;
      sent++;
      response.write(megabyte, more);
    };
    more();
  });
  assert.match((await refused({ socket, method: 'GET', path: '/' })).message, /answers more than 64 MiB/);
  assert.ok(sent < 128, `${sent} MiB were sent`);
});

test('a socket whose path is too long for an address is reached all the same', async () => {
  const deep = join('a'.repeat(60), 'b'.repeat(60));
  mkdirSync(join(folder, deep), { recursive: true });
  const cwd = process.cwd();
  process.chdir(join(folder, deep));
  const server = createServer((_, response) => response.end('1'));
  servers.push(server);
  server.listen('s');
  await once(server, 'listening');
  server.unref();
  process.chdir(cwd);
  assert.equal(await askPersistently({ socket: join(folder, deep, 's'), method: 'GET', path: '/' }), 1);
});

/** What happens, as it is told: server-sent events, and metrics. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { EventLog, eventNames, type DaemonEvent } from '../../../src/daemon/api/event-log.js';
import { commandFolder } from '../../beds/command.js';
import { LockClient } from '../../beds/lock-client.js';
import { RunningDaemon } from '../../beds/running-daemon.js';
import { until } from '../../beds/until.js';

const folder = commandFolder();
const disk = join(folder, 'disk.img');
let daemon: RunningDaemon;

before(async () => {
  writeFileSync(disk, 'data');
  daemon = await RunningDaemon.start(folder);
});
after(() => daemon?.stop());

interface Stream {
  readonly events: readonly DaemonEvent[];
  readonly close: () => void;
  readonly isOver: () => boolean;
}

async function listen(headers: Readonly<Record<string, string>> = {}): Promise<Stream> {
  const sent = daemon.api.send('GET', '/v1/events', undefined, headers);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  assert.equal(response.headers['content-type'], 'text/event-stream');
  const events: DaemonEvent[] = [];
  let text = '';
  response.on('data', (bytes: Buffer) => {
    text += bytes.toString();
    const parts = text.split('\n\n');
    text = parts.pop() ?? '';
    for (const part of parts) {
      const fields = new Map(part.split('\n').map((line) => line.split(/: (.*)/s) as [string, string]));
      if (!fields.has('data')) continue;
      const event = JSON.parse(fields.get('data') ?? '') as DaemonEvent;
      assert.equal(fields.get('event'), event.event);
      assert.equal(Number(fields.get('id')), event.id);
      events.push(event);
    }
  });
  let over = false;
  response.on('close', () => (over = true));
  response.on('error', () => undefined);
  sent.on('error', () => undefined);
  return { events, close: () => sent.destroy(), isOver: () => over };
}

test('what happens to holds is told, in order, and again to whoever was away', async () => {
  const { api } = daemon;
  const stream = await listen();
  const taken = await api.post('/v1/holds', { disks: [{ path: disk }] });
  const asking = { disks: [{ path: disk }], owner: { name: 'web2', uuid: randomUUID() } };
  assert.equal((await api.post('/v1/holds', asking)).status, 409);
  await api.post(`/v1/holds/${taken.data.id}/hand-over`, { pid: process.pid });
  await api.ask('DELETE', `/v1/holds/${taken.data.id}`);
  const names = ['granted', 'refused', 'handed-over', 'released'];
  await until(() => stream.events.length >= names.length, 'the events');
  assert.deepEqual(
    stream.events.map(({ event }) => event),
    names,
  );
  for (const event of stream.events.filter((one) => one.event !== 'refused')) {
    assert.equal(event['hold'], taken.data.id);
  }
  // Named as owners are everywhere.
  assert.deepEqual(stream.events[1]?.['owner'], { kind: 'domain', ...asking.owner, pid: process.pid });
  const last = stream.events[1]?.id ?? 0;
  stream.close();
  const later = await listen({ 'last-event-id': String(last) });
  await until(() => later.events.length >= 2, 'what was remembered');
  assert.deepEqual(
    later.events.map(({ event }) => event),
    names.slice(2),
  );
  later.close();
});

test('what libvirt does is told as well, and listed while it holds', async () => {
  const stream = await listen();
  const client = await LockClient.connect(daemon.lockdSocket);
  const guest = Buffer.from('5'.repeat(32), 'hex');
  const [owner, flags] = [{ uuid: guest, name: 'web1', id: 1, pid: process.pid }, 0];
  assert.equal(await client.call({ call: 'register', owner, flags }), undefined);
  assert.equal(await client.call({ call: 'acquire', path: '', name: disk, flags }), undefined);
  const { data } = await daemon.api.get('/v1/locks');
  assert.deepEqual(
    [data[0].name, data[0].mode, data[0].owners[0].name, data[0].owners[0].uuid],
    [disk, 'exclusive', 'web1', '55555555-5555-5555-5555-555555555555'],
  );
  const refused = await daemon.api.post('/v1/holds', { disks: [{ path: disk }] });
  assert.deepEqual([refused.status, refused.data.holders[0].guest], [409, 'web1'], refused.text);
  const error = await client.call({ call: 'acquire', path: '', name: disk, flags });
  assert.match(error?.message ?? '', /is locked/);
  await until(
    () => stream.events.some(({ event, what }) => event === 'lockd' && what === 'refused'),
    'the event',
  );
  const { text } = await daemon.api.get('/metrics');
  assert.match(text, /^holdfast_holds\{through="lockd"\} 1$/m);
  assert.match(text, /^holdfast_refusals_total\{through="lockd"\} 1$/m);
  assert.match(text, /^holdfast_lockd_acquired_total 1$/m);
  assert.match(text, /^holdfast_acquire_seconds_count\{result="granted"\} 1$/m);
  assert.equal(await client.call({ call: 'release', path: '', name: disk, flags }), undefined);
  client.close();
  stream.close();
});

test('a guest of libvirt is told which hold of the API is in its way', async () => {
  const taken = await daemon.api.post('/v1/holds', {
    disks: [{ path: disk }],
    owner: { name: 'backup', uuid: '66666666-2222-4333-8444-555555555555' },
  });
  const client = await LockClient.connect(daemon.lockdSocket);
  const owner = { uuid: Buffer.alloc(16, 7), name: 'web2', id: 2, pid: process.pid };
  await client.call({ call: 'register', owner, flags: 0 });
  const answer = async (): Promise<string | undefined> =>
    (await client.call({ call: 'acquire', path: '', name: disk, flags: 0 }))?.message;
  // On a busy machine a look can take longer than libvirt is made to wait.
  await until(
    async () => /is locked by guest "backup" \(.*pid \d+\)/.test((await answer()) ?? ''),
    'the hold to be named',
  );
  client.close();
  await daemon.api.ask('DELETE', `/v1/holds/${taken.data.id}`);
});

test('a listener that never reads costs the daemon nothing, and all comes to one that reads', async () => {
  const { api } = daemon;
  const disks = Array.from({ length: 300 }, (_, n) => ({ path: join(folder, `many-${n}.img`) }));
  for (const { path } of disks) writeFileSync(path, 'data');
  const { pid } = (await api.get('/v1/health')).data;
  const deaf = daemon.api.send('GET', '/v1/events', undefined, { 'last-event-id': '0' });
  deaf.on('error', () => undefined);
  const [unread] = (await once(deaf, 'response')) as [IncomingMessage];
  unread.pause();
  const stream = await listen();
  const holds = 30;
  for (let n = 0; n < holds; n++) {
    const { data } = await api.post('/v1/holds', { disks, allowUnlocked: true, explain: false });
    await api.ask('DELETE', `/v1/holds/${data.id}`);
  }
  await until(() => stream.events.length >= 2 * holds, 'the events');
  stream.close();
  // All of it at once, which is more than a socket takes; one reads it, one does not.
  const deafer = daemon.api.send('GET', '/v1/events', undefined, { 'last-event-id': '0' });
  deafer.on('error', () => undefined);
  await once(deafer, 'response');
  const late = await listen({ 'last-event-id': '0' });
  await until(() => late.events.length >= 2 * holds, 'what was remembered');
  assert.deepEqual(
    late.events.map(({ id }) => id),
    late.events.map((_, index) => index + (late.events[0]?.id ?? 0)),
  );
  late.close();
  deaf.destroy();
  deafer.destroy();
  assert.equal((await api.get('/v1/health')).data.pid, pid, 'it was not started again');
});

test('listeners are let go when the daemon ends', async () => {
  const stream = await listen();
  await daemon.stop();
  await until(() => stream.isOver(), 'the end of the events');
});

test('a log remembers its last events, whichever id is asked for', () => {
  const log = new EventLog();
  const heard: number[] = [];
  const leave = log.listen(({ id }) => heard.push(id));
  for (let n = 0; n < 1_500; n++) log.add('granted', { n });
  leave();
  log.add('released', {});
  assert.equal(heard.length, 1_500);
  assert.equal(log.after(0).length, 1_000);
  assert.deepEqual(
    log.after(1_500).map(({ event }) => event),
    ['released'],
  );
  assert.equal(log.after(999_999).length, 1_000, 'an id of an earlier process');
  assert.equal(new Set(eventNames).size, eventNames.length);
});

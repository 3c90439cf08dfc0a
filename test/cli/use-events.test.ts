import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventData, renderEvent, useEvents } from '../../src/cli/use-events.js';
import type { ResourceUse } from '../../src/index.js';
import type { Holder } from '../../src/vocabulary.js';

const now = new Date(2024, 4, 3, 13, 18, 51);

const dd: Holder = {
  program: 'dd',
  pid: 5,
  startTime: 100,
  host: 'this host',
  through: ['no lock: open for writing'],
  evidence: ['fd 1'],
};
const mount: Holder = {
  program: 'the kernel',
  host: 'this host',
  through: ['mounted on /mnt'],
  evidence: [],
};

function use(label: string, holders: readonly Holder[], state?: ResourceUse['state']): ResourceUse {
  return {
    resource: { kind: 'disk', identity: `file:${label}`, label, storage: 'file', scope: 'host' },
    role: 'disk',
    state: state ?? (holders.length > 0 ? 'in use' : 'free'),
    holders,
    notes: [],
    ...(state === 'not fully seen' ? { unseen: 'other hosts' } : {}),
  };
}

const lines = (before: readonly ResourceUse[] | undefined, after: readonly ResourceUse[]): string[] =>
  useEvents(before, after, now).map((event) => renderEvent(event));
const words = (before: readonly ResourceUse[], after: readonly ResourceUse[]): string[] =>
  useEvents(before, after, now).map(({ event }) => event);

test('how it stands when the watch begins', () => {
  assert.deepEqual(lines(undefined, [use('/a', []), use('/b', [dd]), use('/c', [], 'not fully seen')]), [
    '13:18:51 /a: free\n',
    '13:18:51 /b: in use by dd (pid 5) on this host, no lock: open for writing\n',
    '13:18:51 /c: nobody was found, but not everything could be seen: other hosts\n',
  ]);
});

test('one comes, another goes', () => {
  assert.deepEqual(lines([use('/a', [dd])], [use('/a', [mount])]), [
    '13:18:51 /a: released by dd (pid 5) on this host; others still use it\n',
    '13:18:51 /a: taken by the kernel on this host, mounted on /mnt\n',
  ]);
  assert.deepEqual(lines([use('/a', [mount])], [use('/a', [])]), [
    '13:18:51 /a: released by the kernel on this host; it is free now\n',
  ]);
});

test('a process that got the same pid is another one; other descriptors are no change', () => {
  assert.deepEqual(words([use('/a', [dd])], [use('/a', [{ ...dd, startTime: 200 }])]), ['released', 'taken']);
  assert.deepEqual(words([use('/a', [dd])], [use('/a', [{ ...dd, evidence: ['fd 2'] }])]), []);
  assert.deepEqual(words([use('/a', [dd])], [use('/a', [{ ...dd, through: ['Holdfast'] }])]), ['changed']);
});

test('one process with two holds', () => {
  const two = [dd, { ...dd, through: ['Holdfast'] }];
  assert.deepEqual(words([use('/a', two)], [use('/a', two)]), []);
  assert.deepEqual(words([use('/a', [dd])], [use('/a', two)]), ['taken']);
});

test('only what can be seen has changed; something new is watched', () => {
  assert.deepEqual(words([use('/a', [])], [use('/a', [], 'not fully seen')]), ['seen']);
  assert.deepEqual(words([use('/a', [])], [use('/a', []), use('/b', [])]), ['free']);
});

test('what is new to say of it is said once, also where nothing else changed', () => {
  const gone = { ...use('/a', []), notes: ['/a: it does not stand at this path any longer'] };
  assert.deepEqual(lines([use('/a', [])], [gone]), [
    '13:18:51 /a: it does not stand at this path any longer\n',
  ]);
  assert.deepEqual(words([use('/a', [dd])], [gone]), ['released', 'noted']);
  assert.deepEqual(lines([gone], [gone]), []);
  const [event] = useEvents([use('/a', [])], [gone], now).map(eventData);
  assert.equal((JSON.parse(event ?? '') as { note?: string }).note, gone.notes[0]);
});

test('one event is one line, whatever the names are', () => {
  const events = useEvents(undefined, [use('/a\nb', [{ ...dd, program: 'd\nd' }])], now);
  for (const event of events) {
    assert.equal(renderEvent(event).trimEnd().split('\n').length, 1);
    const data = JSON.parse(eventData(event)) as Record<string, unknown>;
    assert.equal(eventData(event).split('\n').length, 2);
    assert.equal(data['resource'], '/a\nb');
    assert.equal(data['event'], 'in use');
    assert.equal(data['time'], now.toISOString());
  }
});

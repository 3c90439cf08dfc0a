/** The checker itself: each rule has to find what it is there for, and nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHistory } from './check-history.js';
import type { HeldMode, HistoryEvent } from './history.js';

const ttlMs = 5_000;

interface Enter {
  readonly host?: string;
  readonly mode?: HeldMode;
  readonly token?: string;
  readonly process?: string;
  readonly disk?: string;
}

function enter(at: number, run: string, revision: number, more: Enter = {}): HistoryEvent {
  const {
    host = 'h1',
    mode = 'exclusive',
    token = `c1:${revision}`,
    process = `${run}:1`,
    disk = 'd',
  } = more;
  return { kind: 'enter', at, run, process, host, disks: [{ disk, mode, token }] };
}
const alive = (at: number, run: string): HistoryEvent => ({ kind: 'alive', at, process: `${run}:1` });
const gone = (at: number, run: string): HistoryEvent => ({ kind: 'gone', at, process: `${run}:1` });

function write(at: number, run: string, revision: number, base: number, more: object = {}): HistoryEvent {
  const common = { kind: 'write', at, run, process: `${run}:1`, disk: 'd', cell: 'checked' } as const;
  return { ...common, token: `c1:${revision}`, base, value: base + 1, added: at, accepted: true, ...more };
}
function end(more: object = {}): HistoryEvent {
  return { kind: 'end', at: 1_000_000, sets: [], left: [], stuck: [], ...more };
}

const rules = (...events: readonly HistoryEvent[]): string[] =>
  checkHistory(events, ttlMs).violations.map(({ rule }) => rule);
const ok = [enter(100, 'a', 5), alive(200, 'a'), gone(210, 'a'), enter(220, 'b', 6), gone(300, 'b')];

test('one after the other is fine', () => {
  assert.deepEqual(rules(...ok, end()), []);
});

test('two exclusive holders at once are an overlap', () => {
  assert.deepEqual(rules(enter(100, 'a', 5), enter(150, 'b', 6), alive(150, 'a'), end()), ['overlap']);
});

test('a holder that was last seen before the next one came is none', () => {
  assert.deepEqual(rules(enter(100, 'a', 5), alive(149, 'a'), enter(150, 'b', 6), end()), []);
});

test('a reader and a writer overlap, two readers do not, nor do two disks', () => {
  const reader = { mode: 'read' } as const;
  const second = [enter(150, 'b', 6, reader), alive(160, 'a')];
  assert.deepEqual(rules(enter(100, 'a', 5), ...second, end()), ['overlap']);
  assert.deepEqual(rules(enter(100, 'a', 5, reader), ...second, end()), []);
  assert.deepEqual(rules(enter(100, 'a', 5, { disk: 'e' }), ...second, end()), []);
});

test('processes of one run are one holder', () => {
  const child = enter(110, 'a', 5, { process: '77:1' });
  assert.deepEqual(rules(enter(100, 'a', 5), child, alive(150, 'a'), end()), []);
});

test('an older process of a run that outlives the others of it is seen', () => {
  const child = enter(110, 'a', 5, { process: '77:1' });
  const lived = { kind: 'alive', at: 300, process: '77:1' } as const;
  assert.deepEqual(rules(enter(100, 'a', 5), child, gone(120, 'a'), enter(200, 'b', 6), lived, end()), [
    'overlap',
  ]);
});

test('an overlap by a frozen host is told as late, and no other', () => {
  const frozen = { kind: 'frozen', at: 120, host: 'h1' } as const;
  const thawed = { kind: 'thawed', at: 9_000, host: 'h1' } as const;
  const both = (host: string): HistoryEvent[] => [
    enter(100, 'a', 5),
    { ...frozen, host },
    enter(8_000, 'b', 6, { host: 'h2' }),
    { ...thawed, host },
    alive(9_040, 'a'),
    end(),
  ];
  const { violations, late } = checkHistory(both('h1'), ttlMs);
  assert.deepEqual([violations, late], [[], [{ run: 'a', disk: 'd', afterThawMs: 40 }]]);
  assert.deepEqual(rules(...both('h3')), ['overlap']);
});

test('a freeze before a process started, or after the overlap, excuses nothing', () => {
  const freeze = (from: number, to: number): HistoryEvent[] => [
    { kind: 'frozen', at: from, host: 'h1' },
    { kind: 'thawed', at: to, host: 'h1' },
  ];
  const overlap = [enter(100, 'a', 5), enter(150, 'b', 6, { host: 'h2' }), alive(160, 'a')];
  assert.deepEqual(rules(...freeze(10, 20), ...overlap, end()), ['overlap']);
  assert.deepEqual(rules(...overlap, ...freeze(200, 300), end()), ['overlap']);
});

test('a write for what is no longer there is a lost update', () => {
  assert.deepEqual(rules(write(100, 'a', 5, 0), write(110, 'b', 6, 1), end()), []);
  assert.deepEqual(rules(write(100, 'a', 5, 0), write(110, 'b', 6, 0), end()), ['lost update']);
  const refused = write(110, 'b', 4, 0, { accepted: false });
  assert.deepEqual(rules(write(100, 'a', 5, 0), refused, write(120, 'c', 7, 1), end()), []);
});

test('the first write has to be for nothing', () => {
  assert.deepEqual(rules(write(100, 'a', 5, 3), end()), ['lost update']);
});

test('a frozen process may spoil what checks no tokens, and only that', () => {
  const events = (cell: string): HistoryEvent[] => [
    enter(100, 'a', 5),
    { kind: 'frozen', at: 120, host: 'h1' },
    { kind: 'thawed', at: 9_000, host: 'h1' },
    write(8_000, 'b', 6, 0, { cell }),
    write(9_010, 'a', 6, 0, { cell }),
    end(),
  ];
  assert.deepEqual(rules(...events('unchecked')), []);
  assert.deepEqual(rules(...events('checked')), ['lost update']);
});

test('a member that was added and is not there is lost', () => {
  const sets = (...members: number[]): HistoryEvent =>
    end({ sets: [{ disk: 'd', cell: 'checked', members }] });
  const writes = [write(100, 'a', 5, 0), write(110, 'b', 6, 1)];
  assert.deepEqual(rules(...writes, sets(100, 110)), []);
  assert.deepEqual(rules(...writes, sets(110)), ['lost member']);
  assert.deepEqual(rules(...writes, write(120, 'c', 4, 2, { accepted: false }), sets(100, 110)), []);
});

test('a token below one that was seen must not be accepted', () => {
  const newer = enter(100, 'b', 6);
  assert.deepEqual(rules(newer, write(110, 'a', 5, 0), end()), ['stale token accepted']);
  assert.deepEqual(rules(newer, write(110, 'a', 5, 0, { accepted: false }), end()), []);
  assert.deepEqual(rules(newer, write(110, 'a', 5, 0, { cell: 'unchecked' }), end()), []);
  assert.deepEqual(rules(newer, write(110, 'b', 6, 0), end()), []);
});

test('a command that starts after a newer grant has run without its lock', () => {
  const newer = [enter(100, 'b', 6), gone(110, 'b')];
  assert.deepEqual(rules(...newer, enter(200, 'a', 5), end()), ['ran without its lock']);
  assert.deepEqual(rules(...newer, enter(200, 'a', 7), end()), []);
  const reader = { mode: 'read' } as const;
  assert.deepEqual(rules(enter(100, 'b', 6, reader), enter(200, 'a', 5, reader), end()), []);
  assert.deepEqual(rules(...newer, enter(200, 'a', 5, reader), end()), ['ran without its lock']);
  const freeze = { kind: 'frozen', at: 90, host: 'h1' } as const;
  assert.deepEqual(rules(freeze, ...newer, enter(200, 'a', 5), end()), []);
});

test('tokens are numbers, not texts, and of one cluster', () => {
  assert.deepEqual(rules(enter(100, 'a', 9), write(120, 'b', 10, 0), end()), []);
  assert.deepEqual(rules(enter(100, 'a', 5), write(120, 'b', 6, 0, { token: 'c2:6' }), end()), [
    'stale token accepted',
  ]);
  assert.deepEqual(rules(write(120, 'b', 6, 0, { token: '' }), end()), ['stale token accepted']);
});

test('two grants of a disk have two tokens', () => {
  assert.deepEqual(rules(enter(100, 'a', 5), enter(200, 'b', 5), end()), ['token given twice']);
  assert.deepEqual(rules(enter(100, 'a', 5), enter(200, 'b', 5, { disk: 'e' }), end()), []);
});

test('a command of a host that was cut off is gone before its lease', () => {
  const cut = { kind: 'cut', at: 1_000, host: 'h1' } as const;
  const events = (last: number, joined: number): HistoryEvent[] => [
    enter(100, 'a', 5),
    cut,
    alive(last, 'a'),
    { kind: 'joined', at: joined, host: 'h1' },
    end(),
  ];
  assert.deepEqual(rules(...events(5_999, 20_000)), []);
  assert.deepEqual(rules(...events(6_000, 20_000)), ['outlived its lease']);
  // It may have been renewed again.
  assert.deepEqual(rules(...events(6_000, 4_000)), []);
  assert.deepEqual(checkHistory(events(4_000, 20_000), ttlMs).figures.cutToGoneMs, [3_000]);
});

test('what is left of the locks is told, and so is a history without an end', () => {
  assert.deepEqual(rules(...ok, end({ left: ['k'] })), ['never released']);
  assert.deepEqual(rules(...ok, end({ stuck: ['d'] })), ['never released']);
  assert.deepEqual(rules(...ok), ['never released']);
});

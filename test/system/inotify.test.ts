import assert from 'node:assert/strict';
import { closeSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FileEvents } from '../../src/system/inotify.js';
import { privateFolder } from '../beds/private-folder.js';

const folder = privateFolder();

function file(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, name);
  return path;
}

test('opening and closing shows, and only once', (t) => {
  const events = new FileEvents();
  t.after(() => events.close());
  const path = file('a');
  const watch = events.watch(path);
  assert.notEqual(watch, undefined);
  assert.deepEqual(events.read(), []);
  closeSync(openSync(path, 'r'));
  const seen = events.read();
  assert.deepEqual(
    seen.map((event) => [event.watch, event.over]),
    [
      [watch, false],
      [watch, false],
    ],
  );
  assert.deepEqual(events.read(), []);
});

test('two files are told apart; one that is no longer watched is silent', (t) => {
  const events = new FileEvents();
  t.after(() => events.close());
  const [a, b] = [file('two-a'), file('two-b')];
  const [first, second] = [events.watch(a), events.watch(b)];
  closeSync(openSync(b, 'r'));
  assert.ok(events.read().every(({ watch }) => watch === second));
  events.unwatch(second ?? 0);
  events.read();
  closeSync(openSync(b, 'r'));
  assert.deepEqual(events.read(), []);
  assert.equal(events.watch(a), first, 'the same file has the same watch');
});

test('renaming shows, and the end of a file ends its watch', (t) => {
  const events = new FileEvents();
  t.after(() => events.close());
  const path = file('moving');
  events.watch(path);
  renameSync(path, `${path}.old`);
  assert.equal(events.read().length, 1);
  unlinkSync(`${path}.old`);
  assert.equal(events.read().at(-1)?.over, true);
  assert.equal(events.watch(path), undefined, 'it is not there any longer');
});

test('thousands of events are read, a part at a time', (t) => {
  const events = new FileEvents();
  t.after(() => events.close());
  const path = file('busy');
  events.watch(path);
  for (let i = 0; i < 4_000; i++) closeSync(openSync(path, 'r'));
  assert.equal(events.read().length, 8_000);
});

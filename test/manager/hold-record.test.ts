import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  fewRecords,
  leaveRecord,
  newHoldId,
  readLiveRecords,
  removeSomeDead,
  rewriteRecord,
  writeRecord,
  type HoldRecord,
} from '../../src/manager/hold-record.js';
import { owner } from '../driver/named-resource.js';
import { privateFolder } from '../beds/private-folder.js';

const folder = privateFolder();

function directory(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

function record(more: Partial<HoldRecord> = {}): HoldRecord {
  const since = '2024-05-03T13:18:51.000Z';
  return {
    version: 1,
    id: newHoldId(),
    owner: owner('x'),
    since,
    drivers: ['fcntl'],
    requests: [],
    tokens: {},
    ...more,
  };
}

test('a record is there as long as its descriptor is open, and is what was written', () => {
  const holds = directory('basic');
  const said = record();
  const written = writeRecord(holds, said);
  assert.deepEqual(
    readLiveRecords(holds).map((live) => live.record),
    [said],
  );
  leaveRecord(written, false);
  assert.deepEqual(readdirSync(holds), []);
});

test('the record of a process that died is removed, and told of', () => {
  const holds = directory('dead');
  const said = record();
  closeSync(writeRecord(holds, said).fd);
  const died: HoldRecord[] = [];
  assert.deepEqual(
    readLiveRecords(holds, (one) => died.push(one)),
    [],
  );
  assert.deepEqual(died, [said]);
  assert.deepEqual(readdirSync(holds), []);
});

test('a few that are left are left alone, and more never pile up', () => {
  const holds = directory('few');
  const leave = (): void => closeSync(writeRecord(holds, record()).fd);
  for (let left = 0; left < fewRecords; left += 1) leave();
  assert.deepEqual(removeSomeDead(holds), []);
  assert.equal(readdirSync(holds).length, fewRecords);
  leave();
  assert.ok(removeSomeDead(holds).length > 1);
  const kept = writeRecord(holds, record());
  for (let round = 0; round < 50; round += 1) {
    leave();
    removeSomeDead(holds);
    assert.ok(readdirSync(holds).length <= fewRecords + 1);
  }
  assert.equal(readLiveRecords(holds, () => undefined).length, 1);
  closeSync(kept.fd);
});

test('a child that inherited the descriptor keeps the record', async () => {
  const holds = directory('inherited');
  const written = writeRecord(holds, record());
  const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', written.fd] });
  leaveRecord(written, true);
  assert.equal(readLiveRecords(holds).length, 1);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(readLiveRecords(holds).length, 0);
  assert.equal(existsSync(written.path), false);
});

test('a record that shrinks has nothing left of the longer one', () => {
  const holds = directory('rewritten');
  const long = record({ command: ['a'.repeat(5_000)] });
  const written = writeRecord(holds, long);
  const { command: _, ...short } = long;
  rewriteRecord(written, short);
  assert.deepEqual(readLiveRecords(holds)[0]?.record, short);
  leaveRecord(written, false);
});

test('garbage, empty files, folders and links are passed over', () => {
  const holds = directory('garbage');
  writeFileSync(join(holds, 'torn.json'), '{"version":1,"requ');
  writeFileSync(join(holds, 'empty.json'), '');
  mkdirSync(join(holds, 'folder.json'));
  writeFileSync(join(folder, 'elsewhere'), JSON.stringify(record()));
  symlinkSync(join(folder, 'elsewhere'), join(holds, 'link.json'));
  assert.deepEqual(readLiveRecords(holds), []);
  assert.ok(existsSync(join(folder, 'elsewhere')), 'a link out of the directory is not followed');
});

test('records written and tidied at once by many are neither lost nor left', async () => {
  const holds = directory('busy');
  const tidier = spawn(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', tidyScript(holds)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await once(tidier.stdout, 'data');
  for (let round = 0; round < 2_000; round++) {
    const written = writeRecord(holds, record());
    assert.ok(existsSync(written.path), `record ${round} was tidied away while it was held`);
    leaveRecord(written, round % 2 === 0);
  }
  tidier.kill('SIGKILL');
  await once(tidier, 'exit');
  readLiveRecords(holds);
  assert.deepEqual(readdirSync(holds), []);
});

function tidyScript(holds: string): string {
  const module = new URL('../../src/manager/hold-record.ts', import.meta.url).href;
  return `import { readLiveRecords } from ${JSON.stringify(module)};
    console.log('ready');
    for (const end = Date.now() + 60_000; Date.now() < end; ) readLiveRecords(${JSON.stringify(holds)});`;
}

/** `list` shows what is really locked, and nothing else; what the dead left behind it removes. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { call, commandFolder, endLeftProcesses, holdfast, start, type Running } from '../beds/command.js';
import { untilFree } from '../beds/observed-lock.js';
import { domainXml, end, rawDisk } from '../beds/qemu.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const runtime = process.env['HOLDFAST_RUNTIME_DIR'] ?? '';
const holds = join(runtime, 'holds');
const nothing = 'You hold nothing.\n';
afterEach(async () => {
  endLeftProcesses();
  await untilFree(disk);
});

const list = async (): Promise<string> => (await call(['list'])).stdout;

async function hold(...asked: readonly string[]): Promise<Running> {
  const running = start(holdfast, ['run', '-q', ...asked, '--', 'sh', '-c', 'echo up; exec sleep 1000']);
  await running.says('up');
  return running;
}

test('nothing, before anybody held anything', async () => {
  assert.equal(await list(), nothing);
  assert.equal(existsSync(runtime), false, 'looking makes no folder');
});

test('who, since when, by what, and what: as a table and as data', async () => {
  const xml = join(folder, 'web1.xml');
  writeFileSync(xml, domainXml('web1', [{ path: disk }]));
  const other = rawDisk(join(folder, 'other.raw'));
  const guest = await hold('--xml', xml);
  const command = await hold('--name', 'backup', '--disk', `${other}:read`, '--lease', 'space:key');

  const table = (await list()).trimEnd().split('\n');
  assert.match(table[0] ?? '', /^HELD BY +PID +SINCE +DRIVER +MODE +RESOURCE$/);
  const [first = '', second = '', third = '', fourth = '', ...rest] = table.slice(1);
  assert.deepEqual(rest, []);
  assert.match(
    first,
    new RegExp(`^guest "web1" +${guest.pid} \\(\\w+\\) +\\d\\d:\\d\\d:\\d\\d +fcntl +exclusive +web1$`),
  );
  assert.match(second, new RegExp(`^ +exclusive +${disk}$`));
  assert.match(`${third}\n${fourth}`, new RegExp(`^backup +${command.pid} \\(\\w+\\) .*\n`));
  assert.match(`${third}\n${fourth}`, new RegExp(`read +${other}$`, 'm'));
  assert.match(`${third}\n${fourth}`, /exclusive +space:key$/m);

  const data = JSON.parse((await call(['list', '--json'])).stdout) as {
    owner: { name: string; kind: string };
    since: string;
    command: string[];
    drivers: string[];
  }[];
  assert.deepEqual(
    data.map(({ owner, drivers, command: words }) => [owner.kind, owner.name, drivers, words[0]]),
    [
      ['domain', 'web1', ['fcntl'], 'sh'],
      ['command', 'backup', ['fcntl'], 'sh'],
    ],
  );
  assert.ok(Math.abs(Date.parse(data[0]?.since ?? '') - Date.now()) < 60_000);

  await end(guest);
  assert.doesNotMatch(await list(), /web1/);
  await end(command);
  assert.equal(await list(), nothing);
  assert.deepEqual(readdirSync(holds), [], 'their records are gone');
});

test('the locks of leases and domains leave no file behind', async () => {
  await end(await hold('--lease', 'space:key'));
  await list();
  const lockspace = join(runtime, 'lockspace');
  assert.deepEqual(existsSync(lockspace) ? readdirSync(lockspace) : [], []);
});

test('a record that nobody keeps is shown never and removed, whatever it says', async () => {
  const running = await hold('--disk', disk);
  const [name = ''] = readdirSync(holds);
  // The same words in a file that no process has locked: as if it had been left by a dead holder.
  copyFileSync(join(holds, name), join(holds, '0123456789ab.json'));
  writeFileSync(join(holds, 'torn.json'), '{"version":1,"id":"to');
  writeFileSync(join(holds, 'empty.json'), '');
  assert.equal((await list()).trimEnd().split('\n').length, 2, 'one hold');
  assert.deepEqual(readdirSync(holds), [name]);
  await end(running);
});

test('what is no record is neither shown nor touched', async () => {
  mkdirSync(join(holds, 'folder.json'), { recursive: true });
  assert.equal(await list(), nothing);
  assert.ok(readdirSync(holds).includes('folder.json'));
});

test('a refused run, a wrong one and one without a command leave no record', async () => {
  const running = await hold('--disk', disk);
  const [name] = readdirSync(holds).filter((one) => one !== 'folder.json');
  await call(['run', '--disk', disk, '--', 'true']);
  await call(['run', '--disk', join(folder, 'missing'), '--', 'true']);
  await call(['run', '--disk', rawDisk(join(folder, 'free.raw')), '--', 'no-such-command-anywhere']);
  assert.deepEqual(
    readdirSync(holds).filter((one) => one !== 'folder.json'),
    [name],
  );
  await end(running);
});

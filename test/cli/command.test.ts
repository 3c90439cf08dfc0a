/** The built command, as a user sees it: statuses, texts, data. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { call, commandFolder, holdfast, start } from '../beds/command.js';

const folder = commandFolder();
const disk = join(folder, 'disk.img');
writeFileSync(disk, 'data');

/** Takes the disk with a command that holds it until it is ended. */
async function holder(): Promise<{ pid: number; end: () => Promise<unknown> }> {
  const running = start(holdfast, ['run', '--disk', disk, '--', 'sh', '-c', 'echo held; exec sleep 600']);
  await running.says('held');
  return {
    pid: running.pid,
    end: () => {
      running.child.kill();
      return running.ended;
    },
  };
}

test('help goes to stdout; nothing given is a usage error', async () => {
  const help = await call(['help']);
  assert.equal(help.status, 0);
  assert.match(help.stdout, /^Holdfast keeps two programs/);
  const nothing = await call([]);
  assert.equal(nothing.status, 64);
  assert.equal(nothing.stdout, '');
  assert.equal(nothing.stderr, help.stdout);
  assert.match((await call(['run', '--help'])).stdout, /--on-lost=ACTION/);
});

test('a usage error names the nearest option, as text and as data', async () => {
  const text = await call(['run', '--dsk', disk, '--', 'true']);
  assert.equal(text.status, 64);
  assert.equal(text.stderr, 'holdfast: run has no option --dsk\n  try       Did you mean --disk?\n');
  const json = await call(['run', '--dsk', disk, '--json', '--', 'true']);
  assert.equal(json.stderr.trim().split('\n').length, 1);
  assert.equal((JSON.parse(json.stderr) as { code: string }).code, 'USAGE');
});

test('run gives the status of its command, and 126 or 127 like a shell', async () => {
  assert.equal((await call(['run', '--disk', disk, '--', 'sh', '-c', 'exit 7'])).status, 7);
  assert.equal((await call(['run', '--disk', disk, '--supervise', '--', 'sh', '-c', 'exit 7'])).status, 7);
  const missing = await call(['run', '--disk', disk, '--', 'no-such-command']);
  assert.equal(missing.status, 127);
  assert.match(missing.stderr, /no-such-command/);
  const plain = join(folder, 'plain');
  writeFileSync(plain, 'not a program');
  assert.equal((await call(['run', '--disk', disk, '--', plain])).status, 126);
  assert.equal((await call(['plan', '--disk', disk])).status, 0, 'the locks were released');
});

test('a refusal names the holder, in text and as one line of data; -E changes the status', async () => {
  const first = await holder();
  const text = await call(['run', '--disk', disk, '--', 'true']);
  assert.equal(text.status, 75);
  const lines = text.stderr.split('\n');
  assert.equal(lines[0], `holdfast: ${disk} is in use (you asked for it exclusively)`);
  assert.match(
    lines[1] ?? '',
    new RegExp(`^  held by   .*pid ${first.pid}.* on this host since \\d\\d:\\d\\d:\\d\\d$`),
  );
  assert.match(lines[2] ?? '', /^ {2}through {3}Holdfast/);
  assert.match(lines[3] ?? '', /^ {2}try {7}.*holdfast run --wait=5m \.\.\.$/);
  const json = await call(['run', '--disk', disk, '--json', '--', 'true']);
  assert.equal(json.stdout, '');
  const data = JSON.parse(json.stderr) as { code: string; holders: { pid: number }[] };
  assert.deepEqual([data.code, data.holders[0]?.pid], ['IN_USE', first.pid]);
  assert.equal(json.stderr.trimEnd().split('\n').length, 1);
  assert.equal((await call(['run', '--disk', disk, '-E', '9', '--', 'true'])).status, 9);
  const nine = await call(['run', '--disk', disk, '-E', '9', '--json', '--', 'true']);
  assert.equal((JSON.parse(nine.stderr) as { exitCode: number }).exitCode, 9);
  assert.equal((await call(['plan', '--disk', disk, '-E', '9'])).status, 9);
  await first.end();
});

test('plan shows verdicts and whether it would be granted now', async () => {
  const free = await call(['plan', '--disk', disk]);
  assert.equal(free.status, 0);
  assert.match(free.stdout, /^MODE +VERDICT +NOW +RESOURCE\n/);
  assert.match(free.stdout, new RegExp(`^exclusive +lock +yes +${disk}\n {21,}file:\\S+$`, 'm'));
  const first = await holder();
  const taken = await call(['plan', '--disk', disk]);
  assert.equal(taken.status, 75);
  assert.match(taken.stdout, /^exclusive +lock +no /m);
  assert.match(taken.stdout, new RegExp(`held by .*pid ${first.pid}`));
  const json = JSON.parse((await call(['plan', '--disk', disk, '--json'])).stdout) as { granted: boolean };
  assert.equal(json.granted, false);
  await first.end();
});

test('plan reads the XML from stdin, and bad XML is placed', async () => {
  const xml = `<domain type='qemu'><name>web1</name><devices><disk type='file' device='disk'>
    <source file='${disk}'/><target dev='vda'/></disk></devices></domain>`;
  const good = await call(['plan', '--xml', '-'], { input: xml });
  assert.equal(good.status, 0);
  assert.match(good.stdout, /\(vda\)\n +file:/);
  const bad = await call(['plan', '--xml', '-', '--json'], { input: '<domain>\n <oops' });
  assert.equal(bad.status, 65);
  const { code, place } = JSON.parse(bad.stdout) as { code: string; place: { file: string; line: number } };
  assert.deepEqual([code, place.file, place.line], ['XML_SYNTAX', 'stdin', 2]);
});

test('list shows what is held, and nothing once it is not', async () => {
  const first = await holder();
  const text = await call(['list']);
  assert.match(text.stdout, new RegExp(` ${first.pid} .*exclusive +${disk}$`, 'm'));
  const json = JSON.parse((await call(['list', '--json'])).stdout) as { processes: { pid: number }[] }[];
  assert.deepEqual(
    json[0]?.processes.map(({ pid }) => pid),
    [first.pid],
  );
  await first.end();
  assert.equal((await call(['list'])).stdout, 'You hold nothing.\n');
  assert.equal((await call(['list', '--json'])).stdout, '[]\n');
});

test('drivers lists the built-in ones with what they can', async () => {
  const text = await call(['drivers']);
  assert.match(
    text.stdout,
    /^fcntl +built in +file system +exclusive, shared, read, part +built in +extend, shrink/m,
  );
  const json = JSON.parse((await call(['drivers', '--json'])).stdout) as {
    name: string;
    abilities: string[];
  }[];
  const fcntl = json.find(({ name }) => name === 'fcntl');
  assert.ok(fcntl?.abilities.includes('shrink'));
});

test('a driver that is broken, and one that does not start, are listed with their errors', async () => {
  const drivers = join(folder, 'drivers');
  spawnSync('mkdir', [drivers]);
  writeFileSync(join(drivers, 'bad.mjs'), 'export default 1;');
  writeFileSync(
    join(drivers, 'asleep.mjs'),
    `export default { about: { name: 'asleep', reach: 'host', modes: ['exclusive'], guarantees: [], doesNotGuarantee: [],
      supervise: false }, start() { throw new Error('nobody answers'); } };`,
  );
  const text = await call(['drivers'], { env: { HOLDFAST_DRIVER_PATH: drivers } });
  assert.equal(text.status, 0);
  assert.match(text.stdout, /driver bad \(.*\): it has no default export/);
  assert.match(text.stdout, /driver asleep could not be started: nobody answers/);
});

test('--wait waits, says for whom, and gives up in time', async () => {
  const first = await holder();
  const impatient = await call(['run', '--disk', disk, '--wait=200ms', '--', 'true']);
  assert.equal(impatient.status, 75);
  assert.match(
    impatient.stderr,
    new RegExp(`^holdfast: waiting (?:\\d+s )?for ${disk}, held by .*pid ${first.pid}`, 'm'),
  );
  const patient = start(holdfast, ['run', '--disk', disk, '--wait', '--', 'echo', 'mine'], { input: '' });
  await patient.says('holdfast: waiting', 'stderr');
  await first.end();
  assert.equal((await patient.ended).stdout, 'mine\n');
});

test('the configuration is read; a wrong key is placed', async () => {
  const file = join(folder, 'holdfast.toml');
  writeFileSync(file, 'driver = "fcntl"\nwait = "nop"\n', { mode: 0o600 });
  const wrong = await call(['run', '--config', file, '--disk', disk, '--', 'true']);
  assert.equal(wrong.status, 78);
  assert.match(wrong.stderr, new RegExp(`^holdfast: ${file}:1:\\d+: driver has to be`));
  writeFileSync(file, 'drivers = ["nop"]\n');
  const first = await holder();
  const free = await call(['run', '--config', file, '--disk', disk, '--', 'echo', 'nothing locked']);
  assert.equal(free.stdout, 'nothing locked\n');
  await first.end();
});

test('an output that cannot be written is an error; a reader that has enough is none', () => {
  const full = spawnSync('sh', ['-c', '"$0" help >/dev/full', holdfast], { encoding: 'utf8' });
  assert.equal(full.status, 74);
  assert.match(full.stderr, /could not be written: ENOSPC/);
  const enough = spawnSync('bash', ['-c', 'set -o pipefail; "$0" help --markdown | true', holdfast]);
  assert.equal(enough.status, 0);
});

test('colours only on a terminal, and not with NO_COLOR', () => {
  const onTerminal = (env: NodeJS.ProcessEnv): string =>
    spawnSync('script', ['-qec', `${holdfast} help`, '/dev/null'], {
      encoding: 'utf8',
      env: { ...process.env, TERM: 'xterm', ...env },
    }).stdout;
  assert.ok(onTerminal({ NO_COLOR: '' }).includes('\u001B[1m'));
  assert.ok(!onTerminal({ NO_COLOR: '1' }).includes('\u001B['));
});

/** What the command inherits, by way of `how` the command is started. */
function inherited(how: readonly string[]): string {
  // A soft limit, two ignored signals, and a variable whose name no shell can hold.
  const report =
    'ulimit -Sn; grep SigIgn /proc/self/status; env | grep -aE "^(BASH_FUNC_greet|a.b|HOLDFAST_(LAUNCH|ENVIRON))"';
  const script = `ulimit -Sn 300; trap '' HUP USR1; exec "$@" run --disk ${disk} --quiet -- bash -c '${report}'`;
  const ended = spawnSync('bash', ['-c', script, 'bash', ...how], {
    encoding: 'utf8',
    env: { ...process.env, 'BASH_FUNC_greet%%': '() { echo hello; }', 'a.b': 'c=d' },
  });
  assert.equal(ended.status, 0, ended.stderr);
  return ended.stdout.split('\n').toSorted().join('\n').trim();
}

test('the command inherits limit, ignored signals and environment as they were, whatever the shell is', () => {
  // Bits 0 and 9: SIGHUP is 1, SIGUSR1 is 10.
  const expected = ['300', 'BASH_FUNC_greet%%=() {  echo hello', 'SigIgn:\t0000000000000201', 'a.b=c=d'].join(
    '\n',
  );
  const link = join(folder, 'a ) link');
  symlinkSync(holdfast, link);
  for (const how of [[holdfast], ['sh', holdfast], ['bash', holdfast], [link]]) {
    assert.equal(inherited(how), expected, how.join(' '));
  }
});

test('it runs under node directly, too', async () => {
  const direct = await start(process.execPath, [holdfast, 'run', '--disk', disk, '--', 'echo', 'ran']).ended;
  assert.equal(direct.stdout, 'ran\n');
});

test('without node in PATH it says so', () => {
  const bin = join(folder, 'bin');
  spawnSync('mkdir', [bin]);
  symlinkSync('/bin/sh', join(bin, 'sh'));
  const ended = spawnSync(holdfast, ['version'], { encoding: 'utf8', env: { PATH: bin } });
  assert.equal(ended.status, 127);
  assert.match(ended.stderr, /needs Node 20\.19 or later/);
  chmodSync(bin, 0o700);
});

test('a bug is data where data was asked for, and has its stack either way', async () => {
  const file = join(folder, 'broken.cjs');
  writeFileSync(file, "process.geteuid = () => { throw new TypeError('broken on purpose'); };");
  const broken = (...args: string[]): ReturnType<typeof call> =>
    start(process.execPath, ['--require', file, holdfast, ...args], {
      env: { HOLDFAST_RUNTIME_DIR: '' },
    }).ended;
  const text = await broken('list');
  assert.equal(text.status, 70);
  assert.match(text.stderr, /please report it .*\nTypeError: broken on purpose\n +at /);
  for (const [stream, ...args] of [
    ['stdout', 'list', '--json'],
    ['stderr', 'run', '--disk', disk, '--json', '--', 'true'],
  ] as const) {
    const ended = await broken(...args);
    assert.equal(ended.status, 70);
    const data = JSON.parse(ended[stream]) as Record<string, unknown>;
    assert.deepEqual(
      [data['code'], data['message'], data['exitCode']],
      ['INTERNAL', 'broken on purpose', 70],
    );
    assert.match(String(data['stack']), /^TypeError: broken on purpose\n +at /);
  }
});

test('an argument that Node would change is refused, and one with U+FFFD of its own is not', async () => {
  const bytes = start('bash', ['-c', `"$0" run --disk "$1" -- printf %s $'caf\\xe9'`, holdfast, disk]);
  const refused = await bytes.ended;
  assert.equal(refused.status, 64);
  assert.match(refused.stderr, /an argument is not UTF-8/);
  const same = await call(['run', '--disk', disk, '--', 'printf', '%s', 'a\uFFFDb é']);
  assert.deepEqual([same.status, same.stdout], [0, 'a\uFFFDb é']);
});

/** `holdfast run` with the sanlock driver: the command itself is the holder. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { call, commandFolder, holdfast, start, type Ended } from '../../beds/command.js';
import {
  makeLease,
  makeLockspace,
  startSanlock,
  startSanlockPair,
  type SanlockFile,
  type SanlockHost,
} from '../../beds/sanlock.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();
const skip = lacks('sanlock');
let alpha: SanlockHost;
let beta: SanlockHost;
let file: SanlockFile;
let made = 0;

/** What `--lease` takes. */
async function lease(): Promise<{ readonly key: string; readonly words: string }> {
  const { lease: place } = await makeLease(file, made++);
  assert.ok(place !== undefined);
  return { key: place.key, words: `cluster:${place.key}:${place.path}:${place.offset}` };
}

const run = (words: string, ...rest: readonly string[]): readonly string[] => [
  'run',
  '--driver=sanlock',
  `--lease=${words}`,
  ...rest,
];

/** On the other host, which has other records as well. */
const callOnBeta = (args: readonly string[]): Promise<Ended> =>
  call(args, {
    env: { ...beta.env, HOLDFAST_RUNTIME_DIR: join(folder, 'run-beta'), HOLDFAST_TEST: join(folder, 'run') },
  });

before(async () => {
  if (skip !== false) return;
  file = await makeLockspace(join(folder, 'leases'), 'cluster');
  [alpha, beta] = await startSanlockPair(folder, file);
});

after(async () => {
  if (skip !== false) return;
  await Promise.all([alpha?.stop(), beta?.stop()]);
});

test('the command is the holder that sanlock watches, and has its token', { skip }, async () => {
  const { key, words } = await lease();
  const running = start(
    holdfast,
    run(words, '--', 'sh', '-c', 'echo "$HOLDFAST_TOKENS" ready; exec sleep 600'),
  );
  await running.says('ready');
  assert.deepEqual(JSON.parse(running.stdout.replace(/ ready\n$/, '')), {
    [`lease:cluster:${key}`]: `cluster:${key}:1`,
  });
  assert.match(await alpha.client('status'), new RegExp(`^p ${running.pid} sh$`, 'm'));
  assert.match(await alpha.client('status'), new RegExp(`^r cluster:${key}:.*:1 p ${running.pid}$`, 'm'));

  const here = await call(run(words, '--', 'true'));
  assert.equal(here.status, 75);
  assert.match(here.stderr, new RegExp(`\\(pid ${running.pid}, .* on this host`));
  const there = await callOnBeta(run(words, '--', 'true'));
  assert.equal(there.status, 75);
  assert.match(there.stderr, /on alpha\n.*sanlock \(host id 1, generation 1\)/);

  running.child.kill('SIGKILL');
  const next = await callOnBeta(run(words, '--wait=60s', '--', 'sh', '-c', 'echo "$HOLDFAST_TOKENS"'));
  assert.equal(next.status, 0, next.stderr);
  assert.match(next.stdout, new RegExp(`cluster:${key}:2`));
});

test('a lockspace that is joined first is told of, in words and as data', { skip }, async () => {
  for (const [name, flag] of [
    ['words', []],
    ['data', ['--json']],
  ] as const) {
    const other = await makeLockspace(join(folder, name), name);
    const { lease: place } = await makeLease(other, 0);
    const config = join(folder, `${name}.toml`);
    writeFileSync(config, `[driver.sanlock]\nio_timeout = 1\nlockspaces = ["${name}:1:${other.path}:0"]\n`, {
      mode: 0o600,
    });
    const words = `${name}:${place?.key}:${place?.path}:1M`;
    const { status, stderr } = await call(run(words, `--config=${config}`, ...flag, '--', 'true'));
    assert.equal(status, 0, stderr);
    const what = `joining the lockspace ${name} as host 1`;
    if (name === 'words') assert.ok(stderr.includes(`${what}: 2 s if all is well, at most 74 s\n`), stderr);
    else assert.deepEqual(JSON.parse(stderr), { progress: { what, expectedMs: 2000, mostMs: 74_000 } });
  }
});

test('what the command leaves running keeps the lease', { skip }, async () => {
  const { key, words } = await lease();
  const { status } = await call(run(words, '--', 'sh', '-c', 'sleep 600 > /dev/null 2>&1 & exit 3'));
  assert.equal(status, 3);
  assert.match(await alpha.client('status'), new RegExp(`^r cluster:${key}:`, 'm'));
  assert.equal((await callOnBeta(run(words, '--', 'true'))).status, 75);
});

test('9 leases are refused, and the command is not started', { skip }, async () => {
  const all: string[] = [];
  while (all.length < 9) all.push(`--lease=${(await lease()).words}`);
  const { status, stdout, stderr } = await call(['run', '--driver=sanlock', ...all, '--', 'echo', 'started']);
  assert.deepEqual([status, stdout], [69, '']);
  assert.match(stderr, /need 9 sanlock leases/);
});

test(
  'what sanlock has no lease for is refused, and locked by a driver that is named beside it',
  { skip },
  async () => {
    const { words } = await lease();
    const [disk, config] = [join(folder, 'disk.img'), join(folder, 'config.toml')];
    writeFileSync(disk, '');
    writeFileSync(config, `[driver.sanlock]\nqemu_sanlock_conf = "${join(folder, 'no.conf')}"\n`, {
      mode: 0o600,
    });
    const things = [`--config=${config}`, `--lease=${words}`, `--disk=${disk}`, '--', 'true'];
    const alone = await call(['run', '--driver=sanlock', ...things]);
    assert.equal(alone.status, 69);
    assert.match(alone.stderr, /auto_disk_leases is off/);
    const both = await call(['run', '--driver=sanlock,fcntl', ...things]);
    assert.equal(both.status, 0, both.stderr);
  },
);

test('beside the command, the end of the daemon ends the command', { skip }, async () => {
  const third = await startSanlock(folder, 'gamma');
  try {
    await third.join(file, 3);
    const { key, words } = await lease();
    const running = start(
      holdfast,
      run(words, '--supervise', '--', 'sh', '-c', 'echo ready; exec sleep 600'),
      {
        env: third.env,
      },
    );
    await running.says('ready');
    await third.stop();
    const { status, stderr } = await running.ended;
    assert.equal(status, 74, stderr);
    assert.match(stderr, /the sanlock daemon has ended/);
    // For the other hosts that one is still alive, or at least not known to be dead.
    const there = await callOnBeta(run(words, '--', 'true'));
    assert.equal(there.status, 75);
    assert.match(there.stderr, /on gamma\n/);
    await until(
      async () => {
        const { stderr: told } = await callOnBeta(run(words, '--', 'true'));
        return /that host counts as dead in \d+ s/.test(told);
      },
      `host gamma, which has ${key}, to be late`,
      60_000,
    );
  } finally {
    await third.stop();
  }
});

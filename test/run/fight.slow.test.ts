/**
 * 200 processes fight for 20 disks for a minute: never two holders, and nothing is left behind.
 *
 * Most are the command itself, started again and again, with and without --wait, in place and supervised, for one disk
 * or several; some are programs with the library. Every now and then one is killed. Whoever holds writes that down,
 * and leaves a marker that must not be there; a process that knows nothing of Holdfast watches both.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { call, commandFolder, holdfast, leftProcesses, start, type Running } from '../beds/command.js';
import { lockOn } from '../beds/observed-lock.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';

const folder = commandFolder();
const runtime = process.env['HOLDFAST_RUNTIME_DIR'] ?? '';
const lastsMs = 1000 * Number(process.env['HOLDFAST_FIGHT_SECONDS'] ?? 60);
const diskCount = 20;
const processes = 200;
const libraryProcesses = 8;
const contendersEach = 8;
/** One in so many is killed at some moment. */
const killOneIn = 15;

const disks = join(folder, 'disks');
const journal = join(folder, 'journal');
const violations = join(folder, 'violations');

/** What the command does while it holds: the same as fighter.ts. */
const fight = join(folder, 'fight');
writeFileSync(
  fight,
  `cd "$1" && journal=$2 violations=$3 pause=$4 mode=$5 && shift 5
alive() { read -r _ _ state _ 2>/dev/null </proc/$1/stat && [ "$state" != Z ]; }
echo "enter $$ $mode $*" >>"$journal"
[ $mode = exclusive ] && for disk; do
  until (set -C; echo $$ >$disk.marker) 2>/dev/null; do
    read -r other <$disk.marker
    alive "\${other%%:*}" && echo "$$ found the marker of $other on $disk" >>"$violations"
    rm -f $disk.marker
  done
done
sleep $pause
[ $mode = exclusive ] && for disk; do rm $disk.marker; done
echo "leave $$ $mode $*" >>"$journal"
exit 0
`,
);

const random = (below: number): number => Math.floor(Math.random() * below);
const outcomes = new Map<string, number>();
const count = (what: string): unknown => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);

/** One place of the fight: a command after another until the time is over. */
async function contend(endMs: number): Promise<void> {
  while (performance.now() < endMs) {
    const mode = random(4) === 0 ? 'shared' : 'exclusive';
    const wanted = [...new Set(Array.from({ length: 1 + random(3) }, () => `disk${random(diskCount)}`))];
    const asked = wanted.flatMap((disk) => ['--disk', `${join(disks, disk)}:${mode}`]);
    const how = [...(random(2) === 0 ? [] : ['--wait=10s']), ...(random(5) === 0 ? ['--supervise'] : [])];
    const pause = (random(200) / 1000).toFixed(3);
    const command = ['sh', fight, disks, journal, violations, pause, mode, ...wanted];
    const running = start(holdfast, ['run', '-q', ...how, ...asked, '--', ...command], { input: '' });
    const killed = random(killOneIn) === 0;
    if (killed) setTimeout(() => running.child.kill('SIGKILL'), random(8_000)).unref();
    const { status, stderr } = await running.ended;
    if (status === 0) count('granted');
    else if (status === 75) count('refused');
    else if (status === 128 + 9 && killed) count('killed');
    else count(`status ${status}: ${stderr}`);
  }
}

const described = (pid: number): string =>
  ['cmdline', 'stat', 'wchan']
    .map((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8').replaceAll('\0', ' '))
    .join(' | ');

const tsx = (script: string, ...args: readonly string[]): Running =>
  start(process.execPath, [
    '--import',
    'tsx',
    fileURLToPath(new URL(`../beds/${script}`, import.meta.url)),
    ...args,
  ]);

test('200 processes fight for 20 disks', { timeout: 4 * lastsMs + 120_000 }, async (t) => {
  mkdirSync(disks);
  for (let index = 0; index < diskCount; index++) rawDisk(join(disks, `disk${index}`));
  writeFileSync(journal, '');
  writeFileSync(violations, '');
  const observer = tsx('fight-observer.ts', journal, disks);
  await observer.says('ready');

  const libraries = Array.from({ length: libraryProcesses }, () =>
    tsx('fighter.ts', disks, String(diskCount), journal, String(contendersEach), String(lastsMs)),
  );
  const endMs = performance.now() + lastsMs;
  await Promise.all(Array.from({ length: processes - libraryProcesses }, () => contend(endMs)));

  const inLibrary = { granted: 0, refused: 0 };
  for (const library of libraries) {
    const { status, stdout, stderr } = await library.ended;
    assert.equal(status, 0, stderr);
    const outcome = JSON.parse(stdout) as { granted: number; refused: number; violations: string[] };
    assert.deepEqual(outcome.violations, []);
    inLibrary.granted += outcome.granted;
    inLibrary.refused += outcome.refused;
  }
  t.diagnostic(`library: ${inLibrary.granted} granted, ${inLibrary.refused} refused`);
  assert.ok(inLibrary.granted > 0 && inLibrary.refused > 0);
  t.diagnostic(`commands: ${[...outcomes].map(([what, times]) => `${times} ${what}`).join(', ')}`);
  const odd = [...outcomes.keys()].filter((what) => !['granted', 'refused', 'killed'].includes(what));
  assert.deepEqual(odd, []);
  assert.ok((outcomes.get('granted') ?? 0) > 20 && (outcomes.get('refused') ?? 0) > 20);

  observer.child.stdin?.end();
  const { stdout, stderr } = await observer.ended;
  const seen = JSON.parse(stdout.replace('ready\n', '')) as Record<string, unknown[]> & {
    looks: number;
    entries: number;
  };
  assert.equal(stderr, '');
  t.diagnostic(`observer: ${seen.entries} grants of a disk, ${seen.looks} looks at one that was held`);
  assert.deepEqual([seen['violations'], seen['unlocked'], seen['left']], [[], [], []]);
  assert.equal(readFileSync(violations, 'utf8'), '');
  assert.ok(seen.looks > 100);

  // Children of those that were killed end by themselves.
  await until(
    () => leftProcesses().length === 0,
    () => `the end of ${leftProcesses().map(described).join('\n')}`,
  );

  for (let index = 0; index < diskCount; index++) assert.equal(lockOn(join(disks, `disk${index}`)), 'none');
  assert.equal((await call(['list'])).stdout, 'You hold nothing.\n');
  for (const name of ['holds', 'lockspace']) {
    const directory = join(runtime, name);
    assert.deepEqual(existsSync(directory) ? readdirSync(directory) : [], [], name);
  }
});

/** `who --watch`: one line for each event, or a view on a terminal, until somebody has seen enough. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { readProcess } from '../../src/system/process.js';
import {
  call,
  commandFolder,
  endLeftProcesses,
  holdfast,
  leftProcesses,
  start,
  type Running,
} from '../beds/command.js';
import { untilFree } from '../beds/observed-lock.js';
import { end, rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
afterEach(async () => {
  endLeftProcesses();
  await untilFree(disk);
});

/** One that writes and takes no lock; it has one name all the time. */
async function writer(): Promise<Running> {
  const running = start('bash', ['-c', 'exec 3<>"$1"; echo up; read end', 'bash', disk]);
  await running.says('up');
  return running;
}

test('a holder that comes and goes: a line each', async () => {
  const watch = start(holdfast, ['who', '--watch', disk]);
  await watch.says('free\n');
  const one = await writer();
  await watch.says(`taken by bash (pid ${one.pid}`);
  await end(one);
  await watch.says(`released by bash (pid ${one.pid}`);
  const run = start(holdfast, ['run', '-q', '--name', 'backup', '--disk', disk, '--', 'sleep', '1000']);
  await watch.says(`pid ${run.pid}`);
  await end(run);
  await watch.says(`pid ${run.pid}, user root) on this host`.replace('user root', userName()));
  watch.child.kill('SIGTERM');
  const { status, stdout, stderr } = await watch.ended;
  assert.deepEqual([status, stderr], [128 + 15, '']);
  const lines = stdout.trimEnd().split('\n');
  for (const line of lines) assert.match(line, new RegExp(`^\\d\\d:\\d\\d:\\d\\d ${disk}: \\w`));
  assert.match(lines[0] ?? '', /: free$/);
  assert.match(lines[2] ?? '', /it is free now$/);
});

function userName(): string {
  return process.getuid?.() === 0 ? 'user root' : 'user ';
}

test('--json: an object a line', async () => {
  const one = await writer();
  const watch = start(holdfast, ['who', '--watch', '--json', disk]);
  await watch.says('"in use"');
  await end(one);
  await watch.says('"released"');
  watch.child.kill('SIGINT');
  const { status, stdout, stderr } = await watch.ended;
  assert.deepEqual([status, stderr], [128 + 2, '']);
  const events = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    events.map(({ event, resource, role, state }) => [event, resource, role, state]),
    [
      ['in use', disk, 'disk', 'in use'],
      ['released', disk, 'disk', 'free'],
    ],
  );
  for (const { time, holder, identity } of events) {
    assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(String(identity), /^file:/);
    assert.equal((holder as { pid: number }).pid, one.pid);
  }
});

test('a reader that has seen enough ends it, without an event and without a word', async () => {
  const watch = start('sh', ['-c', '"$0" who --watch "$1" | head -n 1', holdfast, disk]);
  assert.deepEqual(await watch.ended, { status: 0, stdout: watch.stdout, stderr: '' });
  assert.equal(watch.stdout.split('\n').length, 2);
});

test('what is wrong from the beginning ends it as ever', async () => {
  const { status, stderr } = await call(['who', '--watch', join(folder, 'missing.raw')]);
  assert.equal(status, 66);
  assert.match(stderr, /does not exist/);
});

const clear = '\u001B[H\u001B[J';
const hideCursor = '\u001B[?25l';
const showCursor = '\u001B[?25h';
const alternate = '\u001B[?1049h';
const normal = '\u001B[?1049l';

describe('on a terminal', { skip: lacks('script') }, () => {
  /** On a terminal of this size; its status is script's, and so the watch's. */
  function onTerminal(rows: number, columns: number, ...words: readonly string[]): Running {
    const line = words.map((word) => `'${word}'`).join(' ');
    const command = `stty rows ${rows} cols ${columns}; ${line}; echo "status $?"; stty -a | grep -o '.icanon.\\|-*isig\\|-*echo '`;
    const env = { SHELL: '/bin/sh', TERM: 'xterm', NO_COLOR: '1' };
    return start('script', ['-qec', command, '/dev/null'], { env });
  }

  const frames = (running: Running): string[] => running.stdout.split(clear).slice(1);

  test('draws anew when something changes, says since when, and q gives the terminal back', async () => {
    const watch = onTerminal(24, 200, holdfast, 'who', '--watch', disk);
    await watch.says(`${disk}: free`);
    await until(() => /watching since \d\d:\d\d:\d\d/.test(watch.stdout), 'since when');
    const one = await writer();
    await watch.says(`held by   bash (pid ${one.pid}`);
    await end(one);
    // A frame may come in parts.
    await until(
      () => /: free\r\n[^]*released by bash/.test(frames(watch).at(-1) ?? ''),
      () => `a frame with the last events below: ${frames(watch).at(-1)}`,
    );
    assert.ok(frames(watch).at(-1)?.includes(`${disk}: free\r\n`));
    watch.child.stdin?.write('q');
    await watch.says('status 0');
    const { stdout } = await watch.ended;
    const [before = '', after = ''] = stdout.split(normal);
    assert.ok(before.startsWith(alternate + hideCursor), JSON.stringify(before.slice(0, 40)));
    assert.ok(after.startsWith(showCursor));
    assert.match(after, new RegExp(`${disk}: free\r\n`), 'the last state stays on the terminal');
    assert.match(after, /\bisig/);
    assert.doesNotMatch(after, /-isig|-icanon|-echo/);
  });

  test('Ctrl-C ends it with 130, a signal with 128 and its number; the terminal is given back', async () => {
    const watch = onTerminal(24, 200, holdfast, 'who', '--watch', disk);
    await watch.says(`${disk}: free`);
    watch.child.stdin?.write('\u0003');
    await watch.says('status 130');
    assert.ok((await watch.ended).stdout.includes(normal + showCursor));
    const ended = onTerminal(24, 200, holdfast, 'who', '-w', disk);
    await ended.says(`${disk}: free`);
    const [watching = 0] = leftProcesses().filter((pid) => readProcess(pid)?.argv.includes('-w'));
    process.kill(watching, 'SIGTERM');
    await ended.says('status 143');
    const { stdout } = await ended.ended;
    assert.ok(stdout.includes(normal + showCursor));
    assert.doesNotMatch(stdout, /-isig|-icanon|-echo/);
  });

  test('Ctrl-Z stops it with the terminal given back; told to go on, it draws again', async () => {
    // Without job control nobody would take the terminal back meanwhile.
    const watch = start(
      'script',
      [
        '-qec',
        `set -m; ${holdfast} who --watch ${disk}; echo "stopped"; stty -a; sleep 1; fg; echo "status $?"`,
        '/dev/null',
      ],
      { env: { SHELL: '/bin/bash', TERM: 'xterm' } },
    );
    await watch.says('free');
    watch.child.stdin?.write('\u001A');
    await watch.says('stopped');
    await until(() => frames(watch).length >= 2, 'a second frame');
    const [, stopped = ''] = watch.stdout.split(normal);
    assert.match(stopped, /[^-]icanon/);
    watch.child.stdin?.write('q');
    await watch.says('status 0');
    await watch.ended;
  });

  test('it never takes more rows than there are, nor wraps a line', async () => {
    for (let i = 0; i < 6; i++) await writer();
    const watch = onTerminal(8, 40, holdfast, 'who', '--watch', disk);
    await watch.says('more lines\u001b[?7h');
    const [frame = ''] = frames(watch);
    const drawn = frame.slice(0, frame.indexOf('\u001B[?7h'));
    assert.equal(drawn.split('\r\n').length, 8, JSON.stringify(drawn));
    assert.match(drawn, /\.\.\. \d+ more lines$/);
    // Between these two a line that is too long is cut off by the terminal.
    assert.ok(watch.stdout.includes(`\u001B[?7l${clear}`));
    watch.child.stdin?.write('q');
    await watch.ended;
  });

  test('a dumb terminal gets lines', async () => {
    const env = { SHELL: '/bin/sh', TERM: 'dumb' };
    const watch = start('script', ['-qec', `exec ${holdfast} who --watch ${disk}`, '/dev/null'], { env });
    await watch.says('free');
    assert.ok(!watch.stdout.includes('\u001B'), watch.stdout);
    watch.child.stdin?.write('\u0003');
    assert.equal((await watch.ended).status, 130);
  });
});

/** On a real terminal: the command has it for itself, and gets it, and leaves it, as it was. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import {
  commandFolder,
  endLeftProcesses,
  holdfast,
  leftProcesses,
  start,
  type Running,
} from '../beds/command.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { rawDisk } from '../beds/qemu.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
afterEach(async () => {
  endLeftProcesses();
  await untilFree(disk);
});

const ctrlC = '\u0003';
const environment = { SHELL: '/bin/sh', TERM: 'xterm' };

/** A command line on a terminal of its own; its status is script's. */
function onTerminal(...words: readonly string[]): Running {
  const line = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  return start('script', ['-qec', `exec ${line}`, '/dev/null'], { env: environment });
}

describe('a terminal', { skip: lacks('script') }, () => {
  for (const more of [[], ['--supervise']]) {
    const how = more.length === 0 ? 'in place' : 'supervised';
    const run = [holdfast, 'run', '-q', ...more, '--disk', disk, '--'];

    test(`${how}: the command reads what is typed and writes to the terminal`, async () => {
      const script =
        'test -t 0 && test -t 1 && test -t 2 && echo "type:"; read line; echo "typed: $line"; exit 4';
      const running = onTerminal(...run, 'sh', '-c', script);
      await running.says('type:');
      running.child.stdin?.write('some words\r');
      const { status, stdout } = await running.ended;
      assert.equal(status, 4);
      assert.match(stdout, /typed: some words/);
    });

    test(`${how}: Ctrl-C reaches the command once`, async () => {
      const script = 'trap "echo heard" INT; echo up; until read line; do :; done; exit 5';
      const running = onTerminal(...run, 'sh', '-c', script);
      await running.says('up');
      running.child.stdin?.write(ctrlC);
      await running.says('heard');
      // A second one would come at once.
      await new Promise((resolve) => setTimeout(resolve, 200));
      running.child.stdin?.write('\r');
      const { status, stdout } = await running.ended;
      assert.equal(status, 5);
      assert.equal(stdout.split('heard').length, 2, stdout);
    });

    test(`${how}: Ctrl-C ends a command that does not care, and nothing is left`, async () => {
      const running = onTerminal(...run, 'sh', '-c', 'echo up; exec sleep 1000');
      await running.says('up');
      running.child.stdin?.write(ctrlC);
      assert.equal((await running.ended).status, 128 + 2);
      assert.deepEqual(leftProcesses(), []);
      assert.equal(lockOn(disk), 'none');
    });
  }
});

describe('no command leaves a descriptor or the terminal changed', () => {
  const busy = rawDisk(join(folder, 'busy.raw'));
  const look = join(folder, 'look');
  // O_NONBLOCK belongs to the open file description, so what a child sets stays for its parent.
  writeFileSync(
    look,
    `flags() { for fd in 0 1 2; do grep flags: /proc/$$/fdinfo/$fd; done; stty -g 2>/dev/null; true; }
before=$(flags); "$@" >&2; echo "[$?]"
after=$(flags); [ "$before" = "$after" ] && echo same || echo "before: $before after: $after"
`,
  );
  const commands: Readonly<Record<string, readonly string[]>> = {
    'run in place': ['run', '-q', '--disk', disk, '--', 'true'],
    'run supervised': ['run', '-q', '--supervise', '--disk', disk, '--', 'true'],
    'run refused': ['run', '--disk', busy, '--', 'true'],
    'run that waits': ['run', '--wait=1s', '--disk', busy, '--', 'true'],
    'run of nothing': ['run', '--disk', disk, '--', 'no-such-command-anywhere'],
    plan: ['plan', '--disk', disk],
    list: ['list'],
    drivers: ['drivers'],
    help: ['help', 'run'],
    'wrong usage': ['run', '--nonsense'],
  };
  for (const [name, args] of Object.entries(commands)) {
    test(name, async (t) => {
      // Whoever was killed after the test before keeps its locks until it has ended.
      await untilFree(busy);
      const holder = start(holdfast, [
        'run',
        '-q',
        '--disk',
        busy,
        '--',
        'sh',
        '-c',
        'echo up; exec sleep 1000',
      ]);
      await holder.says('up');
      const piped = await start('sh', [
        '-c',
        'echo | sh "$@" 2>/dev/null | cat',
        'sh',
        look,
        holdfast,
        ...args,
      ]).ended;
      assert.match(piped.stdout, /^\[\d+\]\nsame\n$/);
      if (lacks('script') !== false) return t.diagnostic('without script(1) only pipes were looked at');
      const terminal = onTerminal('sh', look, holdfast, ...args);
      terminal.child.stdin?.end();
      const { stdout } = await terminal.ended;
      assert.match(stdout, /\[\d+\]\r\nsame\r\n/);
    });
  }
});

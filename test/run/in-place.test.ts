/**
 * `run` becomes the command: whatever the command can see of itself is as if it had been started without Holdfast. So
 * the same probe is started both ways, in all sorts of surroundings, and what it sees is compared.
 */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { call, commandFolder, endLeftProcesses, holdfast, leftProcesses, start } from '../beds/command.js';
import { environmentOf } from '../beds/marked-processes.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { end, rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const run = ['run', '-q', '--disk', disk, '--'];
const holds = join(process.env['HOLDFAST_RUNTIME_DIR'] ?? '', 'holds');

afterEach(endLeftProcesses);

/** Prints what a process can see of itself, and what Holdfast could have changed. */
const probe = join(folder, 'probe');
writeFileSync(
  probe,
  `#!/bin/sh
echo "arguments: $0 $#: $*"
echo "folder: $(pwd)"; echo "umask: $(umask)"
echo "open files: $(ulimit -Sn) $(ulimit -Hn)"
echo "group, session, terminal and its group: $(cut -d ' ' -f 5-8 /proc/$$/stat | sed "s/\\b$$\\b/own/g; s/\\b$PPID\\b/parent/g")"
grep -E '^(SigBlk|SigIgn|SigCgt|Seccomp|NoNewPrivs|Cap[A-Za-z]*|Groups|Uid|Gid):' /proc/self/status
for fd in 0 1 2; do echo "$fd: $(grep flags: /proc/$$/fdinfo/$fd)"; done
tr '\\0' '\\n' </proc/$$/environ | grep -v '^HOLDFAST_HOLD=' | sort
`,
);
chmodSync(probe, 0o755);

/** What the probe prints, alone and under `run`. */
async function bothWays(
  shell: string,
  holdfastRun: readonly string[],
): Promise<{ alone: string[]; under: string[] }> {
  const ways = await Promise.all(
    [[probe], [holdfast, ...holdfastRun, probe]].map(
      (command) => start('sh', ['-c', shell, 'sh', ...command, 'one', 'two words', ''], { input: '' }).ended,
    ),
  );
  const [alone, under] = ways.map(({ status, stdout, stderr }) => {
    assert.equal(status, 0, stderr);
    return stdout.split('\n').map((line) => line.replace(/\s+$/, ''));
  });
  assert.ok(alone !== undefined && under !== undefined && alone.length > 15);
  return { alone, under };
}

describe('what the command sees is what it would see without Holdfast', () => {
  const surroundings: Readonly<Record<string, string>> = {
    'nothing special': 'exec "$@"',
    'a soft limit of 777 open files, and another umask': 'ulimit -Sn 777; umask 027; exec "$@"',
    'a hard limit of 900 open files': 'ulimit -n 900; exec "$@"',
    'ignored signals, as nohup and shells in the background leave them':
      'trap \'\' HUP INT QUIT USR1 CHLD XFSZ; exec "$@"',
    'ignored SIGPIPE': 'trap \'\' PIPE; exec "$@"',
    'pipes from and to other programs': 'echo hello | "$@" 2>&1 | cat',
    files: 'exec "$@" </dev/null 2>/dev/null',
    'another folder': 'cd / && exec "$@"',
    'an empty environment': `exec env -i PATH="$PATH" PWD="$PWD" HOLDFAST_RUNTIME_DIR="$HOLDFAST_RUNTIME_DIR" "$@"`,
    'variables that are none of a shell, and odd values': `exec env 'BASH_FUNC_x%%=() {  echo; }' 'a.b=1' 'TRICK==' 'LONG= a  b ' 'HOLDFAST_LAUNCHER=x' '_holdfast_9=y' "$@"`,
    'a session of its own': 'exec setsid "$@"',
  };
  for (const [name, shell] of Object.entries(surroundings)) {
    test(name, async () => {
      const { alone, under } = await bothWays(shell, run);
      assert.deepEqual(under, alone);
    });

    test(`${name}; supervised, all but what tells of the parent and of the group`, async () => {
      const { alone, under } = await bothWays(shell, ['run', '--supervise', ...run.slice(1)]);
      const own = (line: string): boolean => !line.startsWith('group,');
      assert.deepEqual(under.filter(own), alone.filter(own));
    });
  }

  test('a terminal, under script(1)', { skip: lacks('script') }, async () => {
    const seen = await Promise.all(
      [probe, [holdfast, ...run, probe].join(' ')].map(async (command) => {
        const line = `${command}; status=$?; stty -g; tty >/dev/null && echo on a terminal; exit $status`;
        const { status, stdout } = await start('script', ['-qec', line, '/dev/null'], {
          input: '',
          env: { SHELL: '/bin/sh' },
        }).ended;
        assert.equal(status, 0, stdout);
        // Sessions and groups of two terminals differ.
        return stdout.split(/\r?\n/).filter((text) => !text.startsWith('group,'));
      }),
    );
    assert.ok(seen[0]?.includes('on a terminal'));
    assert.deepEqual(seen[1], seen[0]);
  });
});

test('the pid is the same, and nothing of Holdfast is left beside the command', async () => {
  const running = start(holdfast, [...run, 'sh', '-c', 'echo pid $$; exec sleep 1000']);
  await running.says(`pid ${running.pid}\n`);
  const command = (): string => readFileSync(`/proc/${running.pid}/cmdline`, 'utf8');
  await until(() => command() === 'sleep\x001000\0', 'sleep');
  await until(() => leftProcesses().includes(running.pid), 'its environment');
  assert.deepEqual(leftProcesses(), [running.pid]);
  assert.equal(readdirSync(`/proc/${running.pid}/task`).length, 1, 'no thread is left');
  assert.equal(lockOn(disk), 'write');
  const environment = environmentOf(running.pid);
  assert.equal(environment.filter((one) => one.startsWith('HOLDFAST_LAUNCH')).length, 0);
  assert.equal(environment.filter((one) => one.startsWith('HOLDFAST_HOLD=')).length, 1);
  // What started the tests may have left descriptors open for all.
  const own = start('sleep', ['1000']);
  const common = readdirSync(`/proc/${own.pid}/fd`);
  const inherited = readdirSync(`/proc/${running.pid}/fd`).filter((fd) => !common.includes(fd));
  const files = inherited.map((fd) => readlinkSync(`/proc/${running.pid}/fd/${fd}`));
  assert.deepEqual(
    files.filter((file) => file !== disk && !file.startsWith(holds)),
    [],
    'no other descriptor than the locks',
  );
  await end(running);
  assert.equal(lockOn(disk), 'none');
});

test('descriptors that the caller opened for the command are there, and the locks beside them', async () => {
  const shell = 'exec 3<"$1" 4>&1 7>"$2" 9<"$1"; shift 2; exec "$@"';
  const use = 'cat <&3 >&7; cat <&9 >&4; ls -l /proc/$$/fd | grep -c disk.raw';
  const text = join(folder, 'text');
  const written = join(folder, 'written');
  writeFileSync(text, 'a line\n');
  const supervised = [holdfast, 'run', '-q', '--supervise', '--disk', disk, '--'];
  for (const command of [[holdfast, ...run], supervised]) {
    const inner = [...command, 'sh', '-c', use];
    const { stdout, stderr } = await start('sh', ['-c', shell, 'sh', text, written, ...inner]).ended;
    assert.deepEqual([stdout, stderr], ['a line\n1\n', ''], command.join(' '));
    assert.equal(readFileSync(written, 'utf8'), 'a line\n');
  }
});

test('a closed pipe ends the command as it would without Holdfast', async () => {
  const shell = '{ "$@"; echo $? >&2; } | head -n 1';
  const { stdout, stderr } = await start('sh', ['-c', shell, 'sh', holdfast, ...run, 'yes'], { input: '' })
    .ended;
  assert.deepEqual([stdout, stderr], ['y\n', '141\n']);
});

test('closed standard descriptors stay closed, and no lock takes their place', async () => {
  const list = 'for n in 0 1 2; do readlink /proc/$$/fd/$n || echo closed; done >&9';
  const shell = `exec 9>&1 <&- >&- 2>&-; exec "$@"`;
  const { stdout } = await start('sh', ['-c', shell, 'sh', holdfast, ...run, 'sh', '-c', list]).ended;
  assert.doesNotMatch(stdout, /disk\.raw|\.json/);
  assert.equal(lockOn(disk), 'none');
});

describe('a command that cannot be started', () => {
  /** The records of those that ran in place stay until somebody looks, and are no holds. */
  const recordsLeft = (): string[] => (existsSync(holds) ? readdirSync(holds) : []);
  // A record that was there may be gone: every hold tidies what dead ones left.
  const assertNoneAdded = (before: readonly string[]): void =>
    assert.deepEqual(
      recordsLeft().filter((record) => !before.includes(record)),
      [],
    );
  const notExecutable = join(folder, 'not-executable');
  const badInterpreter = join(folder, 'bad-interpreter');
  const noHeader = join(folder, 'no-header');
  writeFileSync(notExecutable, '#!/bin/sh\n', { mode: 0o644 });
  writeFileSync(badInterpreter, '#!/no/such/interpreter\n', { mode: 0o755 });
  writeFileSync(noHeader, 'echo "a script: $0 $1"; exit 5\n', { mode: 0o755 });

  for (const supervise of [[], ['--supervise']]) {
    const how = supervise.length === 0 ? 'in place' : 'supervised';
    for (const [command, status] of [
      ['no-such-command-anywhere', 127],
      ['/no/such/file', 127],
      [notExecutable, 126],
      [folder, 126],
      ['', 127],
    ] as const) {
      test(`${how}: '${command.replace(folder, '...')}' gives ${status}, and everything is free again`, async () => {
        const before = recordsLeft();
        const ended = await call(['run', '-q', ...supervise, '--disk', disk, '--', command]);
        assert.equal(ended.status, status, ended.stderr);
        assert.match(ended.stderr, /^holdfast: /);
        assert.equal(lockOn(disk), 'none');
        assertNoneAdded(before);
        assert.equal((await call(['list'])).stdout, 'You hold nothing.\n');
      });
    }

    test(`${how}: a script whose interpreter is missing does not run, as with shells`, async () => {
      const before = recordsLeft();
      const ended = await call(['run', '-q', ...supervise, '--disk', disk, '--', badInterpreter]);
      const shell = await start('sh', ['-c', badInterpreter]).ended;
      assert.equal(ended.status, shell.status, ended.stderr);
      assert.equal(lockOn(disk), 'none');
      assertNoneAdded(before);
    });

    test(`${how}: a script without a header is run by the shell, as shells do`, async () => {
      const ended = await call(['run', '-q', ...supervise, '--disk', disk, '--', noHeader, 'argument']);
      assert.deepEqual([ended.status, ended.stdout], [5, `a script: ${noHeader} argument\n`], ended.stderr);
      await untilFree(disk);
    });
  }
});

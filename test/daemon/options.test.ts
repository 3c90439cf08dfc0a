/** What the daemon is to do: its command line, its table of the configuration, and what is usual. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commands } from '../../src/cli/command-table.js';
import { daemonOptions, renderDaemonHelp } from '../../src/daemon/option-table.js';
import {
  libvirtPlaces,
  parseDaemonCommand,
  readDaemonOptions,
  type DaemonOptions,
} from '../../src/daemon/options.js';
import { HoldfastError } from '../../src/errors.js';
import { start } from '../beds/command.js';
import { holdfastdCommand } from '../beds/holdfastd.js';
import { privateRuntime } from '../beds/private-folder.js';

const folder = privateRuntime();
const empty = join(folder, 'empty.toml');
writeFileSync(empty, '');

function configuration(text: string): string {
  const file = join(folder, `${crypto.randomUUID()}.toml`);
  writeFileSync(file, text);
  return file;
}

function options(words: readonly string[], file = empty): Promise<DaemonOptions> {
  return readDaemonOptions(parseDaemonCommand(['--config', file, ...words]));
}

function fault(code: string, pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof HoldfastError && error.code === code && pattern.test(error.message);
}

test('what is usual: virtlockd’s place, and the runtime directory', async () => {
  const usual = await options([]);
  const places = libvirtPlaces(process.env);
  assert.deepEqual(usual, {
    config: empty,
    drivers: ['fcntl'],
    lockdSocket: places.socket,
    apiSocket: join(folder, 'run/api.sock'),
    pidFile: places.pidFile,
    takeOver: false,
    logLevel: 'info',
    onLost: 'poweroff',
  });
  assert.deepEqual(libvirtPlaces({}, 0), {
    socket: '/run/libvirt/virtlockd-sock',
    pidFile: '/run/virtlockd.pid',
  });
  assert.deepEqual(libvirtPlaces({ XDG_RUNTIME_DIR: '/run/user/7' }, 7), {
    socket: '/run/user/7/libvirt/virtlockd-sock',
    pidFile: '/run/user/7/libvirt/virtlockd.pid',
  });
  // As libvirt does without a runtime directory; a relative one is none.
  const home = { HOME: '/home/me', XDG_RUNTIME_DIR: 'run' };
  assert.equal(libvirtPlaces(home, 7).socket, '/home/me/.cache/libvirt/virtlockd-sock');
});

test('the configuration wins over what is usual, the command line over both', async () => {
  const file = configuration(`
drivers = ["nop"]
[daemon]
drivers = ["memory", "fcntl"]
lockd_socket = "/run/x/lockd"
api_socket = "/run/x/api"
group = "kvm"
log_level = "warn"
`);
  const configured = await options([], file);
  assert.deepEqual(configured, {
    config: file,
    drivers: ['memory', 'fcntl'],
    lockdSocket: '/run/x/lockd',
    apiSocket: '/run/x/api',
    group: 'kvm',
    takeOver: false,
    logLevel: 'warn',
    onLost: 'poweroff',
  });
  const words = [
    '--driver=fcntl, nop',
    '--lockd-socket=/a/l',
    '--api-socket',
    '/a/a',
    '--group=g',
    '--log-level=debug',
  ];
  const given = await options([...words, '--take-over'], file);
  assert.deepEqual(given, {
    config: file,
    drivers: ['fcntl', 'nop'],
    lockdSocket: '/a/l',
    apiSocket: '/a/a',
    group: 'g',
    takeOver: true,
    logLevel: 'debug',
    onLost: 'poweroff',
  });
  const both = await options(['--socket-dir', '/d', '--api-socket', '/e/api'], file);
  assert.deepEqual([both.lockdSocket, both.apiSocket], ['/d/virtlockd-sock', '/e/api']);
});

test('the daemon does not lock through a lock daemon', async () => {
  const asks = configuration('drivers = ["holdfastd"]\n');
  assert.deepEqual((await options([], asks)).drivers, ['fcntl']);
  const mixed = configuration('drivers = ["memory", "virtlockd"]\n');
  assert.deepEqual((await options([], mixed)).drivers, ['memory']);
  await assert.rejects(options(['--driver', 'fcntl,holdfastd']), fault('CONFIG', /holdfastd/));
});

test('what is wrong is told', async () => {
  for (const words of [['--nothing'], ['word'], ['--group'], ['--group='], ['--check=1']]) {
    assert.throws(() => parseDaemonCommand(words), fault('USAGE', /./), words.join(' '));
  }
  assert.throws(
    () => parseDaemonCommand(['--log-level=inof']),
    (error) => {
      assert.ok(fault('USAGE', /inof/)(error));
      assert.match((error as HoldfastError).remedy, /info/);
      return true;
    },
  );
  await assert.rejects(options(['--api-socket', 'relative']), fault('USAGE', /absolute/));
  await assert.rejects(
    options(['--api-socket', '/a', '--lockd-socket', '/a']),
    fault('USAGE', /both sockets/),
  );
  await assert.rejects(options(['--driver', 'fcntl,,nop']), fault('USAGE', /empty name/));
});

test('`holdfast serve` has the same options, in the same words', () => {
  const serve = commands.find(({ name }) => name === 'serve');
  const own = daemonOptions.filter(({ name }) => name !== 'version' && name !== 'help');
  assert.deepEqual(
    serve?.options
      .filter(({ name }) => name !== 'help')
      .map(({ name, value, choices, help }) => ({ name, value, choices, help })),
    own.map(({ name, value, choices, help }) => ({ name, value, choices, help })),
  );
  for (const { name, help } of daemonOptions) {
    assert.ok(renderDaemonHelp().includes(`--${name}`));
    assert.ok(renderDaemonHelp().includes(help));
  }
});

test('the program: help, version, check, errors as text and as data', async () => {
  const [program = '', ...before] = holdfastdCommand;
  const run = (...words: readonly string[]): ReturnType<typeof start>['ended'] =>
    start(program, [...before, ...words], { input: '' }).ended;
  assert.deepEqual(await run('--help'), { status: 0, stdout: renderDaemonHelp(), stderr: '' });
  assert.match((await run('--version')).stdout, /^holdfastd \d+\.\d+\.\d+\n$/);
  const checked = await run('--check', '--config', empty, '--socket-dir', folder);
  assert.equal(checked.status, 0, checked.stderr);
  assert.equal((JSON.parse(checked.stdout) as DaemonOptions).apiSocket, join(folder, 'api.sock'));
  const wrong = configuration('[daemon]\ngruop = "kvm"\n');
  const text = await run('--check', '--config', wrong);
  assert.equal(text.status, 78);
  assert.match(text.stderr, /:2:1: unknown key daemon\.gruop/);
  const data = await run('--check', '--json', '--config', wrong);
  assert.equal((JSON.parse(data.stderr) as HoldfastError).code, 'CONFIG');
  assert.equal((await run('--check', '--config', empty, '--group', 'no-such-group')).status, 78);
  const unknown = await run('--check', '--config', empty, '--driver', 'fcntk');
  assert.equal(unknown.status, 69);
  assert.match(unknown.stderr, /no driver `fcntk`\n {2}try .*`fcntl`/);
});

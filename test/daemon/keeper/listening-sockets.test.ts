/** The sockets that are served: bound, left over, served by somebody else, or given by a service manager. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { takeGuard } from '../../../src/daemon/keeper/guard-file.js';
import {
  closeSockets,
  openSockets,
  type ServedSockets,
} from '../../../src/daemon/keeper/listening-sockets.js';
import { HoldfastError } from '../../../src/errors.js';
import { tryLock } from '../../../src/system/ofd-lock.js';
import { acceptConnection, connectUnix } from '../../../src/system/unix-socket.js';
import { ApiClient } from '../../beds/api-client.js';
import { commandFolder, start } from '../../beds/command.js';
import { holdfastdCommand } from '../../beds/holdfastd.js';
import { until } from '../../beds/until.js';
import { needs } from '../../needs.js';

const folder = commandFolder();
const open: ServedSockets[] = [];
let count = 0;

afterEach(() => open.splice(0).forEach(closeSockets));

function newPlace(): string {
  const place = join(folder, `place-${++count}`);
  mkdirSync(place, { mode: 0o700 });
  return place;
}

function serve(place: string, pidFile?: string): ServedSockets {
  const served = openSockets([{ name: 'api', path: join(place, 'api.sock') }], pidFile, {});
  open.push(served);
  return served;
}

function isRefused(code: string, pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof HoldfastError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
    return true;
  };
}

test('bound for the owner alone, in a folder that is made; gone when it is closed', () => {
  const place = join(newPlace(), 'deep/er');
  const served = serve(place);
  assert.equal(statSync(place).mode & 0o777, 0o700);
  assert.equal(statSync(join(place, 'api.sock')).mode & 0o777, 0o600);
  const connection = connectUnix(join(place, 'api.sock'));
  assert.ok(connection > 0);
  assert.ok(acceptConnection(served.sockets['api'] ?? -1) !== undefined);
  closeSockets(open.pop() ?? served);
  assert.deepEqual(readdirSync(place), []);
});

test('the folder that libvirt shares with everybody is made for everybody, whatever the umask', () => {
  const place = join(newPlace(), 'libvirt');
  const umask = process.umask(0o077);
  try {
    open.push(openSockets([{ name: 'lockd', path: join(place, 'sock'), folderMode: 0o755 }], undefined, {}));
  } finally {
    process.umask(umask);
  }
  assert.equal(statSync(place).mode & 0o777, 0o755);
  assert.equal(statSync(join(place, 'sock')).mode & 0o777, 0o600);
  // One that is there stays as it is.
  const own = newPlace();
  open.push(openSockets([{ name: 'lockd', path: join(own, 'sock'), folderMode: 0o755 }], undefined, {}));
  assert.equal(statSync(own).mode & 0o777, 0o700);
});

test('there is one keeper in a runtime directory, whatever sockets it serves', () => {
  const keeperSocket = join(newPlace(), 'keeper.sock');
  const serveThere = (): ServedSockets =>
    openSockets([{ name: 'api', path: join(newPlace(), 'api.sock') }], undefined, {}, keeperSocket);
  const served = serveThere();
  assert.throws(serveThere, isRefused('IN_USE', /keeper\.sock is served by .* already/));
  closeSockets(served);
  open.push(serveThere());
});

test('started twice at the same moment, one of them serves', async () => {
  const [program = '', ...words] = holdfastdCommand;
  const run = newPlace();
  for (const places of [
    [run, run],
    [newPlace(), newPlace()],
  ]) {
    const both = places.map((place) =>
      start(program, [...words, '--socket-dir', place], { env: { HOLDFAST_RUNTIME_DIR: run } }),
    );
    const first = await Promise.race(both.map(async (one) => ({ one, ...(await one.ended) })));
    assert.equal(first.status, 75, first.stderr);
    assert.match(first.stderr, /is served by holdfastd \(pid \d+\) already/);
    const [other] = both.filter((one) => one !== first.one);
    await other?.says('serving the API', 'stderr');
    other?.child.kill('SIGTERM');
    assert.equal(await other?.exited, 0);
  }
});

test('a socket that was left over is replaced; a file that is none is not', async () => {
  const place = newPlace();
  const path = join(place, 'api.sock');
  const program = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', program, path]);
  assert.ok(existsSync(path));
  serve(place);
  const other = newPlace();
  writeFileSync(join(other, 'api.sock'), 'precious');
  assert.throws(() => serve(other), isRefused('NOT_PERMITTED', /is no socket/));
  assert.equal(readFileSync(join(other, 'api.sock'), 'utf8'), 'precious');
  assert.deepEqual(readdirSync(other), ['api.sock']);
});

test('who serves already is named, and left alone', async () => {
  const place = newPlace();
  const path = join(place, 'api.sock');
  const server = createServer().listen(path);
  await once(server, 'listening');
  assert.throws(() => serve(place), isRefused('IN_USE', new RegExp(`served by .* \\(pid ${process.pid}\\)`)));
  assert.ok(existsSync(path));
  server.close();
  await once(server, 'close');
  serve(place);
  assert.throws(() => serve(place), isRefused('IN_USE', /served by .* already/));
});

test('a folder that others can change is refused, and nothing is left of the attempt', () => {
  const place = newPlace();
  chmodSync(place, 0o777);
  assert.throws(() => serve(place), isRefused('NOT_PERMITTED', /others can write/));
  chmodSync(place, 0o700);
  mkdirSync(join(place, 'theirs.sock.lock'));
  const wanted = [
    { name: 'api', path: join(place, 'own.sock') },
    { name: 'lockd', path: join(place, 'theirs.sock') },
  ];
  assert.throws(() => openSockets(wanted, undefined, {}), isRefused('NOT_PERMITTED', /theirs/));
  assert.deepEqual(readdirSync(place), ['theirs.sock.lock']);
});

test('a lock file is not followed to where a link leads', () => {
  const place = newPlace();
  writeFileSync(join(place, 'precious'), 'data');
  symlinkSync(join(place, 'precious'), join(place, 'api.sock.lock'));
  assert.throws(() => serve(place), isRefused('NOT_PERMITTED', /api\.sock\.lock/));
  assert.equal(readFileSync(join(place, 'precious'), 'utf8'), 'data');
});

test('a guard is one process’s, and says whose', () => {
  const path = join(newPlace(), 'guard');
  assert.equal(typeof takeGuard(path, 0o600), 'number');
  assert.deepEqual(takeGuard(path, 0o600), { takenBy: process.pid });
  assert.equal(readFileSync(path, 'latin1'), `${process.pid}\n`);
});

test('who has just locked a guard is waited for until it says who it is', () => {
  const path = join(newPlace(), 'guard');
  const locked = openSync(path, 'w+');
  assert.ok(tryLock(locked, 'write', 0));
  const writer = spawn('sh', ['-c', `sleep 0.05; echo ${process.pid} > "$0"`, path], { stdio: 'ignore' });
  assert.deepEqual(takeGuard(path, 0o600), { takenBy: process.pid });
  closeSync(locked);
  writer.unref();
});

test('virtlockd’s pid file: it does not start beside us, nor we beside it', async (t) => {
  if (!needs(t, 'virtlockd', 'root', 'unshare')) return;
  const pidFile = join(newPlace(), 'virtlockd.pid');
  serve(newPlace(), pidFile);
  // In a /run of its own: its socket is not what is in its way.
  const inOwnRun = (script: string): readonly string[] => [
    '--mount',
    'sh',
    '-c',
    `mount -t tmpfs none /run && mkdir -p /run/libvirt && ${script}`,
  ];
  const refused = spawnSync('unshare', inOwnRun(`exec virtlockd -f /dev/null -p ${pidFile}`), {
    encoding: 'utf8',
  });
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /Failed to acquire pid file/);
  open.splice(0).forEach(closeSockets);
  assert.equal(existsSync(pidFile), false);

  const virtlockd = spawn('unshare', inOwnRun(`exec virtlockd -f /dev/null -p ${pidFile}`), {
    stdio: 'ignore',
  });
  t.after(() => virtlockd.kill('SIGKILL'));
  await until(
    () => existsSync(pidFile) && readFileSync(pidFile, 'latin1').includes(String(virtlockd.pid)),
    'virtlockd',
  );
  assert.throws(
    () => serve(newPlace(), pidFile),
    isRefused('IN_USE', new RegExp(`served by virtlockd \\(pid ${virtlockd.pid}\\)`)),
  );
});

test('sockets that a service manager opened are served as they are', async (t) => {
  const [program = '', ...words] = holdfastdCommand;
  if (!needs(t, 'systemd')) return;
  const place = newPlace();
  const [lockd, api] = [join(place, 'lockd'), join(place, 'api')];
  const running = start(
    'systemd-socket-activate',
    [...[lockd, api].flatMap((path) => ['--listen', path]), '--fdname=lockd:api', program, ...words],
    { env: { HOLDFAST_RUNTIME_DIR: join(place, 'run') } },
  );
  t.after(() => running.child.kill('SIGTERM'));
  // A socket is there a moment before anybody listens on it.
  const connects = (): Promise<boolean> =>
    new ApiClient(api).get('/v1/health').then(
      () => true,
      () => false,
    );
  await until(connects, 'the sockets');
  const health = await new ApiClient(api).get('/v1/health');
  assert.equal(health.data.status, 'ok');
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 0, running.stderr);
  // They are the service manager's.
  assert.deepEqual([existsSync(lockd), existsSync(api)], [true, true]);
});

test('sockets of other names, or that are none, are refused', async () => {
  const [program = '', ...words] = holdfastdCommand;
  const place = newPlace();
  const given = (names: string, descriptors: string): ReturnType<typeof start>['ended'] => {
    const script = `export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=${names}; exec "$@" ${descriptors}`;
    return start('sh', ['-c', script, 'sh', program, ...words, '--socket-dir', place], { input: '' }).ended;
  };
  writeFileSync(join(place, 'file'), '');
  const file = await given('api', `3<${join(place, 'file')}`);
  assert.equal(file.status, 78, file.stderr);
  const name = await given('web', '3</dev/null');
  assert.match(name.stderr, /the socket 1 of 1 is called 'web'/);
  const none = await given('api', '3</dev/null');
  assert.match(none.stderr, /no unix stream socket that listens/);
});

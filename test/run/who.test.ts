/** `who` as a user has it: who holds or uses a disk, in words and as data, and its exit status. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { call, commandFolder, endLeftProcesses, holdfast, start, type Running } from '../beds/command.js';
import { untilFree } from '../beds/observed-lock.js';
import { domainXml, rawDisk, startQemu } from '../beds/qemu.js';
import { lacks, needs } from '../needs.js';

const folder = commandFolder();
chmodSync(folder, 0o755);
const disk = rawDisk(join(folder, 'disk.raw'));
afterEach(async () => {
  endLeftProcesses();
  await untilFree(disk);
});

/** dd that writes to a disk and has not got all its input yet. */
async function writer(path: string): Promise<Running> {
  const running = start('sh', ['-c', 'echo up; exec dd conv=notrunc of="$1"', 'sh', path]);
  await running.says('up');
  running.child.stdin?.write('some bytes');
  // Until it has opened its output it is nobody's user.
  for (let round = 0; round < 200 && (await call(['who', path])).status !== 0; round++);
  return running;
}

async function hold(...asked: readonly string[]): Promise<Running> {
  const running = start(holdfast, ['run', '-q', ...asked, '--', 'sh', '-c', 'echo up; exec sleep 1000']);
  await running.says('up');
  return running;
}

test('nobody: said plainly, and status 1', async () => {
  assert.deepEqual(await call(['who', disk]), { status: 1, stdout: `${disk}: free\n`, stderr: '' });
});

test('dd, which takes no lock', async () => {
  const dd = await writer(disk);
  const { status, stdout, stderr } = await call(['who', disk]);
  assert.deepEqual([status, stderr], [0, '']);
  const [first, ...lines] = stdout.split('\n');
  assert.equal(first, `${disk}: in use`);
  const text = lines.join('\n');
  assert.match(
    text,
    new RegExp(`^ {2}held by {3}dd \\(pid ${dd.pid}, .*\\) on this host.* since \\d\\d:`, 'm'),
  );
  assert.match(text, /^ {2}through {3}.*no lock/m);
  assert.match(text, /^ {2}refuses {3}exclusive, shared$/m);
  assert.match(text, /^ {2}try {7}\S/m);
  assert.doesNotMatch(text, /evidence/);
  const verbose = (await call(['who', '--verbose', disk])).stdout;
  assert.match(verbose, new RegExp(`^ {2}evidence {2}/proc/${dd.pid}/fd/\\d+ -> ${disk} \\(write\\)$`, 'm'));
  assert.match(verbose, /^ {2}identity {2}file:/m);
});

test('a holdfast run, by the name it was given', async () => {
  const running = await hold('--name', 'backup', '--disk', disk);
  const { status, stdout } = await call(['who', disk]);
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(`held by {3}backup \\(\\w+, pid ${running.pid}, `));
  assert.match(stdout, /through {3}Holdfast \(fcntl\)/);
  assert.match(stdout, /refuses {3}exclusive, shared, read$/m);
});

test('a reader is only shown', async () => {
  const reader = start('sh', ['-c', 'exec 3<"$1"; echo up; exec sleep 1000', 'sh', disk]);
  await reader.says('up');
  const { status, stdout } = await call(['who', disk]);
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(`used by {3}\\w+ \\(pid ${reader.pid}, `));
  assert.match(stdout, /refuses {3}nothing: it is only shown/);
  assert.equal((await call(['run', '--disk', disk, '--', 'true'])).status, 0, 'and refuses nothing');
});

test('two paths: each has its block, and any that is in use decides', async () => {
  const other = rawDisk(join(folder, 'other.raw'));
  await hold('--disk', disk);
  const { status, stdout } = await call(['who', other, disk]);
  assert.equal(status, 0);
  const [first = '', second = ''] = stdout.split('\n\n');
  assert.equal(first, `${other}: free`);
  assert.match(second, new RegExp(`^${disk}: in use\n`));
  const link = join(folder, 'link.raw');
  linkSync(disk, link);
  const once = (await call(['who', link, disk])).stdout;
  assert.match(once, new RegExp(`^${link}: in use\n`));
  assert.equal(once.split('in use').length, 2, 'one disk is one block, whatever its names');
});

test('--xml: the guest, its disks, and a guest that runs', async (t) => {
  const xml = join(folder, 'web1.xml');
  writeFileSync(xml, domainXml('web1', [{ path: disk }]));
  const free = await call(['who', '--xml', xml]);
  assert.deepEqual(free, { status: 1, stdout: `guest "web1": free\n${disk}: free\n`, stderr: '' });
  if (!needs(t, 'qemu')) return;
  const qemu = await startQemu('web1', { path: disk, format: 'raw' });
  const { status, stdout } = await call(['who', '--xml', xml]);
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(`held by {3}guest "web1" \\(qemu-system-x86_64, pid ${qemu.pid}\\)`));
  assert.match(stdout, /through {3}.*QEMU/);
});

test('what is wrong with the command line or the input', async () => {
  const missing = join(folder, 'missing.raw');
  const { status, stderr } = await call(['who', missing]);
  assert.equal(status, 66);
  assert.match(stderr, /missing\.raw.* does not exist/);
  const empty = await call(['who', '']);
  assert.deepEqual([empty.status, empty.stderr.split('\n')[0]], [64, 'holdfast: a PATH is empty']);
  const nothing = await call(['who']);
  assert.equal(nothing.status, 64);
  assert.match(nothing.stderr, /there is nothing to look at\n.*PATH/);
  const bad = join(folder, 'bad.xml');
  writeFileSync(bad, '<domain>');
  assert.equal((await call(['who', '--xml', bad])).status, 65);
  const json = await call(['who', '--json', missing]);
  assert.equal(json.status, 66);
  assert.equal((JSON.parse(json.stdout) as { code: string }).code, 'NO_SUCH_FILE');
});

test('one of several paths is not there: said beside the others, and status 66', async () => {
  const missing = join(folder, 'missing.raw');
  const { status, stdout, stderr } = await call(['who', disk, missing, '/dev/null']);
  assert.deepEqual([status, stderr], [66, '']);
  assert.match(
    stdout,
    new RegExp(`^${missing}: error: ${missing} \\(disk\\) does not exist.*\n {2}try {7}Check`, 'm'),
  );
  assert.match(stdout, /^\/dev\/null: error: .* is neither a regular file/m);
  assert.match(stdout, new RegExp(`^${disk}: free$`, 'm'));
  const json = await call(['who', '--json', missing, disk]);
  assert.equal(json.status, 66);
  const uses = JSON.parse(json.stdout) as { state: string; error?: { code: string } }[];
  assert.deepEqual(
    uses.map(({ state, error }) => [state, error?.code]),
    [
      ['not fully seen', 'NO_SUCH_FILE'],
      ['free', undefined],
    ],
  );
});

test('--json: everything that the text has', async () => {
  const dd = await writer(disk);
  const { status, stdout } = await call(['who', '--json', disk]);
  assert.equal(status, 0);
  const [use, ...more] = JSON.parse(stdout) as Record<string, unknown>[];
  assert.deepEqual(more, []);
  assert.equal(use?.['state'], 'in use');
  assert.equal(use['role'], 'disk');
  assert.deepEqual(use['notes'], []);
  const resource = use['resource'] as Record<string, unknown>;
  assert.deepEqual([resource['label'], resource['path'], resource['kind']], [disk, disk, 'disk']);
  assert.match(String(resource['identity']), /^file:/);
  const [holder] = use['holders'] as Record<string, unknown>[];
  assert.equal(holder?.['pid'], dd.pid);
  assert.equal(holder['program'], 'dd');
  assert.equal(holder['host'], 'this host');
  assert.deepEqual(holder['refuses'], ['exclusive', 'shared']);
  assert.match(String(holder['since']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/);
  for (const list of ['through', 'evidence']) assert.ok(Array.isArray(holder[list]), list);
});

test('odd names: each is printed in one line, none is another', async () => {
  for (const name of ['with space.raw', 'new\nline.raw', 'esc\u001B[2J.raw', 'colon:read', '-dash.raw']) {
    const path = rawDisk(join(folder, name));
    const { status, stdout } = await call(['who', path]);
    assert.equal(status, 1, name);
    assert.equal(stdout.split('\n').length, 2, stdout);
    // eslint-disable-next-line no-control-regex
    assert.doesNotMatch(stdout.trimEnd(), /[\u0000-\u001F]/);
  }
  assert.equal((await call(['who', '--', '-dash.raw'], { cwd: folder })).status, 1);
});

test('a name that is not UTF-8 is refused with words, and can be looked at by a symlink', async () => {
  const raw = Buffer.concat([Buffer.from(join(folder, 'bad-')), Buffer.from([0xff]), Buffer.from('.raw')]);
  closeSync(openSync(raw, 'w'));
  const link = join(folder, 'good-name');
  symlinkSync(raw, link);
  assert.deepEqual(await call(['who', link]), { status: 1, stdout: `${link}: free\n`, stderr: '' });
  await hold('--disk', link);
  assert.equal((await call(['who', link])).status, 0);
  const script = `exec "$0" who "$(printf '%s/bad-\\377.raw' "$1")"`;
  const refused = await start('sh', ['-c', script, holdfast, folder]).ended;
  assert.equal(refused.status, 64);
  assert.match(refused.stderr, /not UTF-8/);
  assert.match(refused.stderr, /symlink/);
});

describe('an ordinary user', { skip: lacks('root', 'setpriv') }, () => {
  const nobody = 65534;
  const home = join(folder, 'home');
  mkdirSync(home);
  chownSync(home, nobody, nobody);
  // A copy that every user may read: the checkout may lie in a home.
  const copy = join(folder, 'installed');
  cpSync(dirname(holdfast), join(copy, 'dist/command'), { recursive: true });
  const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));
  for (const name of ['koffi', '@koromix']) {
    cpSync(join(modules, name), join(copy, 'node_modules', name), { recursive: true });
  }
  const env = {
    HOME: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_RUNTIME_DIR: '',
    HOLDFAST_RUNTIME_DIR: join(home, 'run'),
    // So that the test finds what it has to end.
    HOLDFAST_TEST: process.env['HOLDFAST_RUNTIME_DIR'] ?? '',
  };
  const callAs = (...args: readonly string[]): Running['ended'] => {
    const user = ['--reuid', String(nobody), '--regid', String(nobody), '--clear-groups'];
    const words = [...user, '--', join(copy, 'dist/command/holdfast'), ...args];
    return start('setpriv', words, { env, cwd: home, input: '' }).ended;
  };

  test("root's disk that he may not even read: not everything could be seen, and how to", async () => {
    const secret = join(folder, 'secret.raw');
    copyFileSync(disk, secret);
    chmodSync(secret, 0o600);
    const { status, stdout, stderr } = await callAs('who', secret);
    assert.deepEqual([status, stderr], [77, '']);
    assert.match(stdout, /secret\.raw: nobody was found, but not everything could be seen\n/);
    assert.match(stdout, /not seen {2}.*look as root/);
    const [use] = JSON.parse((await callAs('who', '--json', secret)).stdout) as Record<string, string>[];
    assert.equal(use?.['state'], 'not fully seen');
    assert.match(use['unseen'] ?? '', /look as root/);
  });

  test("a hold of root's: in use, whoever that is", async () => {
    await hold('--disk', disk);
    const { status, stdout } = await callAs('who', disk);
    assert.equal(status, 0);
    assert.match(stdout, /held by {3}/);
  });
});

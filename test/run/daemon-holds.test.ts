/** `holdfast attach`, `detach`, `suspend`, `resume`, `release` and `list` with a real daemon. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startApiDaemon, type ApiDaemon } from '../beds/api-daemon.js';
import { call, commandFolder, holdfast, start, type Ended, type Running } from '../beds/command.js';
import { LockClient } from '../beds/lock-client.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { domainXml, end, qemuCommand, rawDisk, untilUp } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
let disks = 0;
const disk = (): string => rawDisk(join(folder, `disk-${++disks}`));

const diskXml = (path: string, target: string): string =>
  `<disk type='file'><source file='${path}'/><target dev='${target}'/></disk>`;

/** A daemon, and what a user does with it. */
class Bed {
  readonly daemon: ApiDaemon;
  readonly #config: string;

  constructor(daemon: ApiDaemon, config: string) {
    this.daemon = daemon;
    this.#config = config;
    writeFileSync(config, `[driver.holdfastd]\nsocket = "${daemon.socket}"\n`);
  }

  ask(command: string, ...words: readonly string[]): Promise<Ended> {
    return call([command, '--config', this.#config, ...words], { cwd: folder });
  }

  /** A command that holds a disk through it. */
  async hold(name: string, path: string, driver = 'holdfastd'): Promise<Running> {
    const asked = ['--config', this.#config, '--driver', driver, '--name', name, '--disk', path];
    const script = 'echo started; exec sleep 1000';
    const running = start(holdfast, ['run', '-q', ...asked, '--', 'sh', '-c', script]);
    await running.says('started');
    return running;
  }
}

async function openBed(name: string, args: readonly string[] = []): Promise<Bed> {
  return new Bed(await startApiDaemon(join(folder, name), args), join(folder, `${name}.toml`));
}

function assertDone({ status, stdout, stderr }: Ended): void {
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
}

describe('a hold of a running command', () => {
  let bed: Bed;
  let running: Running;
  before(async () => {
    bed = await openBed('fcntl');
    running = await bed.hold('web1', disk());
  });
  after(async () => {
    await end(running);
    await bed.daemon.stop();
  });

  test('gets a disk, by its path from any folder, and gives it back', async () => {
    const path = disk();
    assertDone(await bed.ask('attach', 'web1', '--disk', basename(path)));
    assert.equal(lockOn(path), 'write');
    const refused = await call(['run', '--disk', path, '--', 'echo', 'ran']);
    assert.equal(refused.status, 75);
    assert.match(refused.stderr, new RegExp(`^ {2}held by {3}web1 \\(\\w+, pid ${running.pid},`, 'm'));
    // What it has already is no error.
    assertDone(await bed.ask('attach', 'web1', '--disk', path));
    assertDone(await bed.ask('detach', 'web1', basename(path)));
    assert.equal(lockOn(path), 'none');
  });

  test('gets a device of an XML, and gives it back by its name in the guest', async () => {
    const [one, two] = [disk(), disk()];
    writeFileSync(join(folder, 'vdb.xml'), diskXml(one, 'vdb'));
    assertDone(await bed.ask('attach', 'web1', '--xml', 'vdb.xml', '--disk', `${two}:read`));
    assert.deepEqual([lockOn(one), lockOn(two)], ['write', 'read']);
    assertDone(await bed.ask('detach', 'web1', 'vdb', two));
    assert.deepEqual([lockOn(one), lockOn(two)], ['none', 'none']);
  });

  test('gets a device from standard input, and a lease', async () => {
    const path = disk();
    const words = ['attach', '--socket', bed.daemon.socket, 'web1', '--xml', '-', '--lease', 'space:key'];
    const { status, stderr } = await call(words, { input: diskXml(path, 'vdc') });
    assert.equal(status, 0, stderr);
    assert.equal(lockOn(path), 'write');
    assertDone(await bed.ask('detach', 'web1', 'vdc', 'space:key'));
    assert.equal(lockOn(path), 'none');
  });

  test('gets all or nothing', async () => {
    const [mine, taken] = [disk(), disk()];
    const other = await bed.hold('other', taken);
    const refused = await bed.ask('attach', 'web1', '--disk', mine, '--disk', taken);
    assert.equal(refused.status, 75);
    assert.match(refused.stderr, new RegExp(`held by {3}other \\(\\w+, pid ${other.pid},`));
    assert.equal(lockOn(mine), 'none');
    const own = await bed.ask('attach', '-E', '9', 'web1', '--disk', taken);
    assert.equal(own.status, 9);
    const waiting = start(holdfast, [
      ...['attach', '--socket', bed.daemon.socket, '--wait', 'web1', '--disk', taken],
    ]);
    await end(other);
    assert.equal((await waiting.ended).status, 0);
    assertDone(await bed.ask('detach', 'web1', taken));
  });

  test('is named by id, name, uuid or pid', async () => {
    const [hold] = await bed.daemon.client.holds();
    for (const word of [hold?.id, 'web1', hold?.owner.uuid, String(running.pid)]) {
      const { status, stdout, stderr } = await bed.ask('attach', '--json', word ?? '', '--disk', disk());
      assert.equal(status, 0, stderr);
      assert.equal((JSON.parse(stdout) as { id: string }).id, hold?.id);
    }
    const none = await bed.ask('detach', 'web2', 'vda');
    assert.equal(none.status, 66);
    assert.match(none.stderr, /has no hold 'web2'/);
    const twin = await bed.hold('web1', disk());
    const both = await bed.ask('release', 'web1');
    assert.equal(both.status, 64);
    assert.match(both.stderr, new RegExp(`Name one of them: .*${hold?.id}`));
    await end(twin);
    await until(async () => (await bed.daemon.client.holds()).length === 1, 'the end of the second hold');
  });

  test('says what it does not have', async () => {
    const wrong = await bed.ask('detach', 'web1', 'vdz');
    assert.equal(wrong.status, 64);
    assert.match(wrong.stderr, /has no disk or lease 'vdz'/);
    assert.equal((await bed.ask('attach', 'web1')).status, 64);
    assert.equal((await bed.ask('attach', 'web1', '--disk', join(folder, 'missing'))).status, 66);
  });

  test('is suspended and resumed, unless somebody changed what it has', async () => {
    const path = disk();
    const paused = await bed.hold('paused', path);
    assertDone(await bed.ask('suspend', 'paused'));
    assert.equal(lockOn(path), 'none');
    assert.match((await bed.ask('list')).stdout, /^paused .*\(suspended\)/m);
    const backup = await bed.ask(
      'run',
      '-q',
      '--driver',
      'fcntl',
      '--disk',
      `${path}:read`,
      '--',
      'cat',
      path,
    );
    assert.equal(backup.status, 0, backup.stderr);
    assertDone(await bed.ask('resume', 'paused'));
    assert.equal(lockOn(path), 'write');
    assertDone(await bed.ask('suspend', 'paused'));
    const other = await bed.hold('other', path, 'fcntl');
    const inUse = await bed.ask('resume', 'paused');
    assert.equal(inUse.status, 75, inUse.stderr);
    await end(other);
    await untilFree(path);
    const lost = await bed.ask('resume', 'paused');
    assert.equal(lost.status, 74, lost.stderr);
    assert.match(lost.stderr, /was changed or locked by somebody else while it was suspended/);
    assert.match((await bed.ask('list')).stdout, /^paused .*\(LOST\)/m);
    assertDone(await bed.ask('release', 'paused'));
    await end(paused);
  });

  test('stays as it is where nothing could tell who had it', async () => {
    const path = disk();
    const sharing = await bed.hold('sharing', `${path}:shared`);
    const refused = await bed.ask('suspend', 'sharing');
    assert.equal(refused.status, 69);
    assert.match(refused.stderr, /cannot be suspended: others may write it meanwhile/);
    assert.match(refused.stderr, /try +Leave it held/);
    assert.equal(lockOn(path), 'read');
    await end(sharing);
    await until(async () => (await bed.daemon.client.holds()).length === 1, 'the end of its hold');
  });

  test('is listed once, with what is locked', async () => {
    const { status, stdout } = await bed.ask('list');
    assert.equal(status, 0);
    assert.match(
      stdout,
      new RegExp(`^web1 +${running.pid} \\(sleep\\) .* holdfastd \\(fcntl\\) +exclusive`, 'm'),
    );
    const data = JSON.parse((await bed.ask('list', '--json')).stdout) as { id: string; state: string }[];
    const [hold] = await bed.daemon.client.holds();
    assert.deepEqual(
      data.map(({ id, state }) => [id, state]),
      [[hold?.id, 'held']],
    );
  });

  test('what libvirt has locked is listed too', async () => {
    const path = disk();
    const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';
    const guest = start('sleep', ['1000']);
    const client = await LockClient.connect(bed.daemon.lockdSocket);
    const owner = { uuid: Buffer.from(uuid.replaceAll('-', ''), 'hex'), name: 'db1', id: 3, pid: guest.pid };
    assert.equal(await client.call({ call: 'register', owner, flags: 0 }), undefined);
    assert.equal(await client.call({ call: 'acquire', path: '', name: path, flags: 0 }), undefined);
    const { stdout } = await bed.ask('list');
    assert.match(
      stdout,
      new RegExp(
        `^guest "db1" +${guest.pid} \\(sleep\\) .* holdfastd \\(libvirt\\) +exclusive +${path}$`,
        'm',
      ),
    );
    const listed = JSON.parse((await bed.ask('list', '--json')).stdout) as {
      owner: { uuid: string };
      id?: string;
    }[];
    assert.deepEqual(
      listed.filter(({ id }) => id === undefined).map((one) => one.owner.uuid),
      [uuid],
    );
    // Who does not ask the daemon is told of the guest as well, and not of the daemon.
    const refused = await call(['run', '--disk', path, '--', 'echo', 'ran'], {
      env: { HOLDFAST_RUNTIME_DIR: dirname(bed.daemon.socket) },
    });
    assert.equal(refused.status, 75);
    assert.match(
      refused.stderr,
      new RegExp(`^ {2}held by {3}guest "db1" \\(sleep, pid ${guest.pid}[,)]`, 'm'),
    );
    assert.match(
      refused.stderr,
      /^ {2}through {3}libvirt, through holdfastd\n {2}try {7}virsh shutdown db1/m,
    );
    assert.equal(refused.stderr.match(/held by/g)?.length, 1, refused.stderr);
    const unnamed = await call(['run', '--disk', path, '--', 'echo', 'ran']);
    assert.match(unnamed.stderr, /held by {3}holdfastd \(pid/);
    assert.equal(unnamed.stderr.match(/held by/g)?.length, 1, unnamed.stderr);
    // It stands in the list, but is libvirt's to give back.
    const released = await bed.ask('release', 'db1');
    assert.equal(released.status, 69);
    assert.match(released.stderr, /guest "db1" has its locks through libvirt.*\n {2}try .*virsh suspend db1/);
    await end(guest);
    client.close();
  });

  test('is given back', async () => {
    const path = disk();
    const other = await bed.hold('short', path);
    assertDone(await bed.ask('release', 'short'));
    assert.equal(lockOn(path), 'none');
    assert.doesNotMatch((await bed.ask('list')).stdout, /short/);
    assert.equal((await bed.ask('who', path)).status, 1, 'nobody has it now');
    await end(other);
  });

  test('is not changed for a command that keeps its locks itself', async () => {
    const own = await bed.hold('alone', disk(), 'fcntl');
    for (const words of [['release'], ['attach', '--disk', disk()]]) {
      const [command = '', ...rest] = words;
      const { status, stderr } = await bed.ask(command, 'alone', ...rest);
      assert.equal(status, 69);
      assert.match(stderr, new RegExp(`is kept by process ${own.pid} itself \\(driver fcntl\\)`));
      assert.match(stderr, /--driver holdfastd/);
    }
    await end(own);
  });
});

describe('drivers that can pause', () => {
  test('the locks of a paused guest are free, and taken again', async () => {
    const bed = await openBed('memory', ['--driver', 'memory']);
    const path = disk();
    const running = await bed.hold('web1', path);
    const again = ['run', '-q', '--driver', 'holdfastd', '--disk', path, '--', 'true'] as const;
    const [command, ...words] = again;
    assert.equal((await bed.ask(command, ...words)).status, 75);
    assertDone(await bed.ask('suspend', 'web1'));
    assert.match((await bed.ask('list')).stdout, /web1/);
    assertDone(await bed.ask('resume', 'web1'));
    assert.equal((await bed.ask(command, ...words)).status, 75);
    assertDone(await bed.ask('suspend', 'web1'));
    assert.equal((await bed.ask(command, ...words)).status, 0);
    const lost = await bed.ask('resume', 'web1');
    assert.equal(lost.status, 74, lost.stderr);
    await end(running);
    await bed.daemon.stop();
  });
});

describe('a guest', { skip: lacks('qemu') }, () => {
  test('a QEMU that runs gets a second disk', async () => {
    const bed = await openBed('guest');
    const [first, second] = [disk(), disk()];
    const xml = join(folder, 'guest.xml');
    writeFileSync(xml, domainXml('web1', [{ path: first }]));
    const asked = ['run', '--config', join(folder, 'guest.toml'), '--driver', 'holdfastd', '--xml', xml];
    const guest = start(holdfast, [...asked, '--', ...qemuCommand('web1', { path: first, format: 'raw' })]);
    await untilUp(guest);
    writeFileSync(join(folder, 'second.xml'), diskXml(second, 'vdb'));
    assertDone(await bed.ask('attach', 'web1', '--xml', 'second.xml'));
    assert.equal(lockOn(second), 'write');
    const twice = await bed.ask('run', '--driver', 'holdfastd', '--xml', xml, '--', 'echo', 'ran');
    assert.equal(twice.status, 75);
    assert.match(twice.stderr, /guest "web1" \(qemu-system-x86_64, pid \d+/);
    await end(guest);
    await untilFree(second);
    await untilFree(first);
    await bed.daemon.stop();
  });
});

test('what a daemon keeps that cannot be asked any more is listed still', async () => {
  const bed = await openBed('mortal');
  const running = await bed.hold('orphan', disk());
  await bed.daemon.killBoth();
  const { status, stdout, stderr } = await bed.ask('list');
  assert.equal(status, 0, stderr);
  assert.match(stdout, new RegExp(`^orphan +${running.pid} `, 'm'));
  assert.equal((await bed.ask('release', 'orphan')).status, 69);
  await end(running);
});

test('without a daemon it is said how to start one', async () => {
  for (const words of [
    ['attach', 'web1', '--disk', disk()],
    ['release', 'web1'],
  ]) {
    const { status, stderr } = await call([...words, '--socket', join(folder, 'none.sock')]);
    assert.equal(status, 69);
    assert.match(stderr, /does not listen on .*none\.sock/);
    assert.match(stderr, /holdfast serve/);
  }
  assert.equal((await call(['list', '--socket', join(folder, 'none.sock')])).status, 69);
});

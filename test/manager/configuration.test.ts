import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { HoldfastError } from '../../src/errors.js';
import { readConfiguration, usualFiles, type Configuration } from '../../src/manager/configuration.js';
import { needs } from '../needs.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-configuration-'));
after(() => rmSync(folder, { recursive: true }));

function fileWith(text: string, mode = 0o644): string {
  const file = join(folder, 'holdfast.toml');
  rmSync(file, { force: true });
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

async function errorOf(text: string): Promise<HoldfastError> {
  const file = fileWith(text);
  try {
    await readConfiguration({ file });
  } catch (error) {
    assert.ok(error instanceof HoldfastError);
    assert.equal(error.code, 'CONFIG');
    assert.equal(error.exitCode, 78);
    return error;
  }
  throw new Error('the configuration was accepted');
}

test('every key is read', async () => {
  const file = fileWith(`
drivers = ["fcntl", "nop"]
wait = "30s"
allow_unlocked = true
on_lost = "pause"
qemu_lock = "hold"
local_file_systems = ["zfs"]

[alias]
"nas1:/export" = "nas2:/export"

[daemon]
drivers = ["fcntl"]
lockd_socket = "/run/a"
api_socket = "/run/b"
group = "libvirt"
log_level = "debug"

[driver.fcntl]
anything = [1, 2]
`);
  assert.deepEqual(await readConfiguration({ file }), {
    files: [file],
    drivers: ['fcntl', 'nop'],
    waitMs: 30_000,
    allowUnlocked: true,
    onLost: 'pause',
    qemuLock: 'hold',
    localFileSystems: ['zfs'],
    aliases: { 'nas1:/export': 'nas2:/export' },
    daemon: {
      drivers: ['fcntl'],
      lockdSocket: '/run/a',
      apiSocket: '/run/b',
      group: 'libvirt',
      logLevel: 'debug',
    },
    driverSettings: { fcntl: { anything: [1, 2] } },
  });
});

test('the table of the daemon: a wrong key or value is named with its place', async () => {
  const key = await errorOf('[daemon]\ngroup = "kvm"\nlog_levle = "info"\n');
  assert.deepEqual([key.place?.line, key.place?.column], [3, 1]);
  assert.match(key.message, /unknown key daemon\.log_levle/);
  assert.match(key.remedy, /log_level/);
  const value = await errorOf('[daemon]\nlockd_socket = "relative"\n');
  assert.deepEqual([value.place?.line, value.place?.column], [2, 16]);
  assert.match(value.message, /daemon\.lockd_socket has to be an absolute path/);
  assert.match((await errorOf('daemon = 7\n')).message, /daemon has to be a table/);
});

test('the keys of a later file win, and no others', async () => {
  const system = join(folder, 'system.toml');
  writeFileSync(system, 'wait = true\n[alias]\na = "1"\nb = "1"\n[driver.fcntl]\none = 1\ntwo = 1\n');
  const user = fileWith('wait = false\n[alias]\nb = "2"\n[driver.fcntl]\ntwo = 2\n[driver.nop]\n');
  const read = await readConfiguration({ usual: [system, join(folder, 'none.toml'), user] });
  assert.deepEqual(read, {
    files: [system, user],
    waitMs: 0,
    aliases: { a: '1', b: '2' },
    driverSettings: { fcntl: { one: 1, two: 2 }, nop: {} },
  });
});

test('wait is a duration, for ever or not at all', async () => {
  assert.equal((await readConfiguration({ file: fileWith('wait = true') })).waitMs, Number.POSITIVE_INFINITY);
  assert.equal((await readConfiguration({ file: fileWith('wait = false') })).waitMs, 0);
  assert.equal((await readConfiguration({ file: fileWith('wait = "5m"') })).waitMs, 300_000);
});

test('a wrong key names line and column and the nearest key', async () => {
  const error = await errorOf('# mine\n\n  driverz = ["fcntl"]\n');
  assert.equal(error.message, `${join(folder, 'holdfast.toml')}:3:3: unknown key driverz`);
  assert.deepEqual(error.place, { file: join(folder, 'holdfast.toml'), line: 3, column: 3 });
  assert.equal(error.remedy, 'Did you mean drivers?');
});

test('a wrong value names its line and column and what it has to be', async () => {
  const error = await errorOf('wait = "30s"\non_lost   =  "explode"\n');
  assert.match(error.message, /:2:14: on_lost has to be one of poweroff, restart, pause, ignore$/);
  assert.equal(error.remedy, 'Mend line 2 of the file.');
});

test('wrong values inside tables are placed', async () => {
  assert.match((await errorOf('[alias]\na = "b"\n"c d" = 4\n')).message, /:3:9: alias has to be/);
  assert.match((await errorOf('driver.fcntl = 3\n')).message, /:1:16: driver has to be/);
  assert.match((await errorOf('\ndriver = { fcntl = 3 }\n')).message, /:2:10: driver has to be/);
  assert.match((await errorOf('drivers = ["""\nwait = 1\n"""]\nwait = []')).message, /:4:8: wait has to be/);
});

test('bad syntax names line and column', async () => {
  const error = await errorOf('wait = "30s"\non_lost = = 3\n');
  assert.match(error.message, /holdfast\.toml:2:11: is not TOML/);
  assert.equal(error.place?.line, 2);
});

test('a file that others can write is refused', async () => {
  const file = fileWith('wait = true', 0o666);
  await assert.rejects(readConfiguration({ file }), (error: HoldfastError) => {
    assert.equal(error.code, 'CONFIG');
    assert.match(error.message, /is refused: others could change it$/);
    assert.match(error.remedy, /chmod go-w/);
    return true;
  });
});

test('a file in a folder that others can write is refused', async () => {
  const file = fileWith('wait = true');
  chmodSync(folder, 0o777);
  try {
    await assert.rejects(readConfiguration({ file }), {
      message: `${file} is refused: others could change ${folder}`,
      remedy: `Run: chmod go-w ${folder}`,
    });
  } finally {
    chmodSync(folder, 0o700);
  }
});

test('a named file has to exist, be a file and be small', async () => {
  await assert.rejects(readConfiguration({ file: join(folder, 'none.toml') }), /cannot be read/);
  await assert.rejects(readConfiguration({ file: folder }), {
    message: `${folder} is not a regular file`,
    remedy: 'Name a configuration file.',
  });
  await assert.rejects(readConfiguration({ file: fileWith('#'.repeat(1024 * 1024 + 1)) }), /larger than/);
  await readConfiguration({ file: fileWith('#'.repeat(1024 * 1024)) });
});

test("the configuration of another user's home that lets nobody in is passed over, and said to be", async (t) => {
  if (!needs(t, 'root')) return;
  const place = mkdtempSync(join(tmpdir(), 'homes-'));
  t.after(() => rmSync(place, { recursive: true }));
  chmodSync(place, 0o755);
  const system = join(place, 'system.toml');
  /** A home with a configuration: whose all of it is, and the modes of the home, the folder and the file. */
  const home = (name: string, uid: number, modes: readonly [number, number, number]): string => {
    const folders = ['', '.config', '.config/holdfast'].map((one) => join(place, name, one));
    for (const one of folders) mkdirSync(one);
    const file = join(place, name, '.config/holdfast/holdfast.toml');
    writeFileSync(file, 'wait = true\n');
    for (const one of [...folders, file]) chownSync(one, uid, 0);
    [folders[0], folders[1], file].forEach((one, index) => chmodSync(one ?? '', modes[index] ?? 0));
    return file;
  };
  const nobody = 65534;
  const asNobody = async (usual: readonly string[]): Promise<Configuration> => {
    // Loaded while all can be read.
    await readConfiguration({ file: fileWith('') });
    process.seteuid?.(nobody);
    try {
      return await readConfiguration({ usual });
    } finally {
      process.seteuid?.(0);
    }
  };
  for (const [name, uid, modes] of [
    ['root', 0, [0o700, 0o755, 0o644]],
    ['alice', 1234, [0o700, 0o755, 0o644]],
    ['open', 0, [0o755, 0o700, 0o644]],
    ['seen', 0, [0o755, 0o755, 0o600]],
  ] as const) {
    const file = home(name, uid, modes);
    const { files, waitMs, notes } = await asNobody([system, file]);
    assert.deepEqual([files, waitMs], [[], undefined], name);
    assert.equal(notes?.length, 1);
    assert.match(notes[0] ?? '', new RegExp(`^${file} is passed over: .* user ${uid}'s`));
    await assert.rejects(asNobody([file]), /cannot be read|refused/, "the system's is never passed over");
  }
  for (const modes of [
    [0o755, 0o000, 0o644],
    [0o755, 0o755, 0o000],
  ] as const) {
    const file = home(`own-${modes[1]}`, nobody, modes);
    await assert.rejects(asNobody([system, file]), { code: 'CONFIG', exitCode: 78 });
  }
  // His own home, though the folder in it is not.
  const mixed = home('mixed', nobody, [0o755, 0o700, 0o644]);
  chownSync(dirname(dirname(mixed)), 0, 0);
  await assert.rejects(asNobody([system, mixed]), { code: 'CONFIG', exitCode: 78 });
});

test('the usual files are the system one and then the user one', () => {
  assert.deepEqual(usualFiles({ XDG_CONFIG_HOME: '/x' }), [
    '/etc/holdfast/holdfast.toml',
    '/x/holdfast/holdfast.toml',
  ]);
  assert.match(usualFiles({ XDG_CONFIG_HOME: 'relative' })[1] ?? '', /\/\.config\/holdfast\/holdfast\.toml$/);
});

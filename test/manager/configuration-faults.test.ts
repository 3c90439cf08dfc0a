/** What is wrong with drivers in a configuration is only seen when they are used: it names its place all the same. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { DriverSettings } from '../../src/driver/contract.js';
import { HoldfastError } from '../../src/errors.js';
import type { ManagerOptions } from '../../src/manager/chosen-drivers.js';
import { openManager, type Manager } from '../../src/manager/open-manager.js';
import { privateRuntime } from '../beds/private-folder.js';

const folder = privateRuntime();
const file = join(folder, 'holdfast.toml');
const disk = join(folder, 'a.img');
writeFileSync(disk, '');

/** A folder with one driver, `own`, that finds every setting but `good` wrong. */
const drivers = mkdtempSync(join(tmpdir(), 'holdfast-drivers-'));
after(() => rmSync(drivers, { recursive: true }));
mkdirSync(join(drivers, 'own'));
writeFileSync(
  join(drivers, 'own', 'index.js'),
  `module.exports = {
    about: { name: 'own', reach: 'none', modes: ['exclusive'], guarantees: [], doesNotGuarantee: [], supervise: false },
    start(settings) {
      const wrong = Object.keys(settings).find((key) => key !== 'good');
      if (wrong !== undefined) throw Object.assign(new Error('driver own: no ' + wrong), { code: 'CONFIG', ...(wrong === 'vague' ? {} : { setting: wrong }) });
      return { acquire: async () => ({ requests: [], descriptors: [], tokens: {} }), release: async () => {}, holders: async () => [] };
    },
  };\n`,
);

async function withManager<Result>(
  text: string,
  use: (manager: Manager) => Promise<Result>,
  options: ManagerOptions = {},
): Promise<Result> {
  writeFileSync(file, text, { mode: 0o644 });
  const manager = openManager({ configuration: file, driverPath: drivers, ...options });
  try {
    return await use(manager);
  } finally {
    await manager.close();
  }
}

async function errorOf(text: string, options: ManagerOptions = {}): Promise<HoldfastError> {
  return withManager(
    text,
    async (manager) => {
      const error: unknown = await manager.lock({ disks: [disk] }).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      assert.ok(error instanceof HoldfastError, 'it was accepted');
      return error;
    },
    options,
  );
}

function assertAt(error: HoldfastError, line: number, column: number, message: RegExp): void {
  assert.equal(error.code, 'CONFIG');
  assert.deepEqual(error.place, { file, line, column });
  assert.ok(error.message.startsWith(`${file}:${line}:${column}: `), error.message);
  assert.match(error.message, message);
}

test('a driver that does not exist is placed where the configuration names it', async () => {
  assertAt(await errorOf('# mine\ndrivers = ["fcntl", "nope"]\n'), 2, 21, /There is no driver `nope`/);
  const near = await errorOf('drivers = [\n  "nop",\n  "fcntI",\n]\n');
  assertAt(near, 3, 3, /"fcntI" cannot be the name of a driver/);
  assert.match(near.remedy, /^Did you mean fcntl\?/);
  assertAt(await errorOf('drivers = ["nop", "nop"]\n'), 1, 12, /nop is chosen twice/);
});

test('a driver that the caller names is none of the configuration', async () => {
  const error = await errorOf('drivers = ["nope"]\n', { driver: 'nope' });
  assert.equal(error.code, 'DRIVER_UNKNOWN');
  assert.equal(error.place, undefined);
});

test('a setting that a driver does not have, and a wrong one, are placed', async () => {
  const unknown = await errorOf('\n[driver.fcntl]\n  lockspace_dirs = "/x"\n');
  assertAt(unknown, 3, 3, /driver fcntl: there is no setting 'lockspace_dirs'/);
  assert.match(unknown.remedy, /^Did you mean lockspace_dir\?/);
  assertAt(
    await errorOf('[driver.fcntl]\nlockspace_dir = 3\n'),
    2,
    1,
    /lockspace_dir must be an absolute path/,
  );
  assertAt(await errorOf('driver.fcntl.qemu_lock = "maybe"\n'), 1, 1, /qemu_lock must be/);
  assertAt(await errorOf('[driver]\nfcntl = { libvirt_config_dirs = 1 }\n'), 2, 1, /libvirt_config_dirs/);
});

test('also what a driver of somebody else finds wrong, who may say which setting it is', async () => {
  const own = 'drivers = ["own"]\n[driver.own]\ngood = 1\n';
  assertAt(await errorOf(`${own}bad = 2\n`), 4, 1, /: driver own: no bad$/);
  assertAt(await errorOf(`${own}vague = 2\n`), 2, 1, /: driver own: no vague$/);
});

test('a setting that the caller gave is not looked for in the file', async () => {
  const settings: Record<string, DriverSettings> = { fcntl: { lockspace_dir: 'relative' } };
  const error = await errorOf('[driver.fcntl]\nlockspace_dir = "/x"\n', { settings });
  assert.equal(error.code, 'CONFIG');
  assert.equal(error.place, undefined);
});

test('`drivers` says where the setting stands that keeps one from starting', async () => {
  const listed = await withManager('[driver.fcntl]\nnonsense = 1\n', (manager) => manager.drivers());
  const error = listed.find(({ name }) => name === 'fcntl')?.notStarted;
  assert.ok(error !== undefined);
  assertAt(error, 2, 1, /nonsense/);
});

test('settings for a driver that is probably another one are an error', async () => {
  const error = await errorOf('[driver.fcntI]\nqemu_lock = "off"\n');
  assertAt(error, 1, 1, /\[driver\.fcntI\] is not used: "fcntI" cannot/);
  assert.match(error.remedy, /^Did you mean \[driver\.fcntl\]\?/);
  assertAt(await errorOf('wait = true\ndriver.onw.good = 1\n'), 2, 1, /onw/);
  assertAt(await errorOf('[driver."a b"]\n'), 1, 1, /cannot be the name of a driver/);
  await assert.rejects(
    withManager('[driver.fcntI]\n', (manager) => manager.drivers()),
    { code: 'CONFIG' },
  );
});

test('settings for a driver that is not installed here are said in the plan, and stop nothing', async () => {
  const text = 'drivers = ["fcntl"]\n\n[driver.zookeeper]\nhosts = []\n\n[driver.own]\nbad = 1\n';
  const { notes } = await withManager(text, (manager) => manager.plan({ disks: [disk] }));
  assert.deepEqual(
    notes.filter((note) => note.includes(file)),
    [`${file}:3:1: [driver.zookeeper] is not used: there is no driver zookeeper on this host`],
  );
  const kept = await withManager(text, async (manager) => (await manager.lock({ disks: [disk] })).notes);
  assert.deepEqual(kept, []);
});

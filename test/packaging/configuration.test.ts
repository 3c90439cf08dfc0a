/** packaging/holdfast.toml: every key with its default. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readEtcdSettings } from '../../src/drivers/etcd/etcd-settings.js';
import { readFcntlSettings } from '../../src/drivers/fcntl/fcntl-settings.js';
import { readHoldfastdSettings } from '../../src/drivers/holdfastd/holdfastd-settings.js';
import { readVirtlockdSettings } from '../../src/drivers/virtlockd/virtlockd-settings.js';
import { configurationKeys } from '../../src/manager/configuration-file.js';
import { readConfiguration, type Configuration } from '../../src/manager/configuration.js';
import { daemonKeyNames } from '../../src/manager/daemon-settings.js';
import { privateFolder } from '../beds/private-folder.js';

const packaged = fileURLToPath(new URL('../../packaging/holdfast.toml', import.meta.url));
const text = readFileSync(packaged, 'utf8');
const folder = privateFolder();

/** As if somebody had removed the '#' before every key and table. */
async function allSet(): Promise<Configuration> {
  const file = join(folder, 'holdfast.toml');
  writeFileSync(file, text.replaceAll(/^#(?=\w+ = |\[)/gm, ''));
  return readConfiguration({ file });
}

/** The keys below a heading, the top's without one. */
function keysOf(table: string): string[] {
  const part = table === '' ? text.split(/^#\[/m)[0] : text.split(`\n#[${table}]\n`)[1]?.split(/^#\[/m)[0];
  return [...(part ?? '').matchAll(/^#(?<key>\w+) = /gm)].map(({ groups }) => groups?.['key'] ?? '');
}

test('as it is, it sets nothing', async () => {
  assert.deepEqual(await readConfiguration({ file: packaged }), { files: [packaged] });
});

test('it names every key that the code knows', () => {
  const tables = ['alias', 'daemon', 'driver'];
  assert.deepEqual([...keysOf(''), ...tables].toSorted(), [...configurationKeys].toSorted());
  assert.deepEqual(keysOf('daemon').toSorted(), [...daemonKeyNames].toSorted());
});

test('it names every setting of the drivers, and all of them are right', async () => {
  const { driverSettings = {} } = await allSet();
  const drivers = {
    fcntl: readFcntlSettings,
    virtlockd: readVirtlockdSettings,
    holdfastd: readHoldfastdSettings,
    etcd: readEtcdSettings,
  };
  assert.deepEqual(Object.keys(driverSettings).toSorted(), Object.keys(drivers).toSorted());
  for (const [name, read] of Object.entries(drivers)) {
    read(driverSettings[name] ?? {});
    assert.throws(
      () => read({ nothing_such: 1 }),
      ({ message }: Error) => {
        for (const setting of message.split('there are ')[1]?.split(', ') ?? [assert.fail(message)])
          assert.match(text.split(`#[driver.${name}]`).join(''), new RegExp(`\\b${setting}\\b`), setting);
        return true;
      },
    );
  }
});

test('what it names is what is done without it', async () => {
  const { drivers, waitMs, allowUnlocked, onLost, qemuLock, localFileSystems, daemon } = await allSet();
  assert.deepEqual(
    { drivers, waitMs, allowUnlocked, onLost, qemuLock, localFileSystems },
    {
      drivers: ['fcntl'],
      waitMs: 0,
      allowUnlocked: false,
      onLost: 'poweroff',
      qemuLock: 'check',
      localFileSystems: [],
    },
  );
  assert.equal(daemon?.logLevel, 'info');
});

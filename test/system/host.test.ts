import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError } from '../../src/errors.js';
import { bootTime, hostName, machineId } from '../../src/system/host.js';

const idA = '3d1219c7c4c5404aaa1f6d2a48adfda4';
const idB = 'b7c1219c7c4c5404aaa1f6d2a48adfda';
const bootId = '2f1b7c3e-92f6-4c3b-8a8e-0d5a7b1c9e44';

function root(t: TestContext, files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-host-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

test('the machine-id comes before its copy and the boot id', (t) => {
  const files = {
    'etc/machine-id': `${idA}\n`,
    'var/lib/dbus/machine-id': `${idB}\n`,
    'proc/sys/kernel/random/boot_id': `${bootId}\n`,
  };
  assert.equal(machineId(root(t, files)), idA);
});

test('an id that is none is passed over', (t) => {
  for (const none of ['', 'uninitialized\n', `${'0'.repeat(32)}\n`, idA.slice(1)]) {
    const copy = root(t, { 'etc/machine-id': none, 'var/lib/dbus/machine-id': idB });
    assert.equal(machineId(copy), idB);
    const boot = root(t, { 'etc/machine-id': none, 'proc/sys/kernel/random/boot_id': `${bootId}\n` });
    assert.equal(machineId(boot), bootId.replaceAll('-', ''));
  }
});

test('a host without any id is an error that says what to do', (t) => {
  assert.throws(
    () => machineId(root(t, {})),
    (error) => isHoldfastError(error, 'CONFIG') && error.remedy.includes('machine-id'),
  );
});

test('this host has an id, a name and a time of boot', () => {
  assert.match(machineId(), /^[0-9a-f]{32}$/);
  assert.notEqual(hostName(), '');
  assert.ok(bootTime() > 0 && bootTime() <= Date.now() / 1000);
});

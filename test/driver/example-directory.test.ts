/** The example of docs/drivers.md: found in a folder, held to the conformance suite, used by a manager. */
import assert from 'node:assert/strict';
import { chmod, copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { after } from 'node:test';
import { driverConformance, runWithNodeTest } from '../../src/driver/conformance.js';
import { findDriver } from '../../src/driver/discovery.js';
import { openManager } from '../../src/index.js';
import { namedResource } from './named-resource.js';

const source = fileURLToPath(new URL('../../examples/driver-directory/directory.mjs', import.meta.url));
const root = await mkdtemp(join(tmpdir(), 'holdfast-example-directory-'));
after(() => rm(root, { recursive: true }));

const driverPath = await mkdtemp(join(root, 'drivers-'));
await copyFile(source, join(driverPath, 'directory.mjs'));
// As installed: the checkout may be open to its group.
await chmod(join(driverPath, 'directory.mjs'), 0o644);

const { factory, location } = await findDriver('directory', { path: driverPath });
runWithNodeTest(
  test,
  await driverConformance({
    factory,
    settings: { folder: join(root, 'locks') },
    badSettings: {},
    makeResource: namedResource,
  }),
);

test('the example is loaded from the folder', () => {
  assert.equal(location, join(driverPath, 'directory.mjs'));
});

test('two managers contend through the example', async () => {
  process.env['HOLDFAST_RUNTIME_DIR'] = join(root, 'run');
  const folder = join(root, 'other-locks');
  const disk = join(root, 'a.img');
  await writeFile(disk, 'x');
  const options = {
    driver: 'directory',
    driverPath,
    settings: { directory: { folder } },
    configuration: false,
  } as const;
  const [one, two] = [openManager(options), openManager(options)];
  try {
    const hold = await one.lock({ disks: [disk], name: 'one' });
    await assert.rejects(two.lock({ disks: [disk], name: 'two' }), { code: 'IN_USE', resource: disk });
    await hold.release();
    await two.lock({ disks: [disk], name: 'two' });
  } finally {
    await one.close();
    await two.close();
  }
  assert.deepEqual(await readdir(folder), []);
});

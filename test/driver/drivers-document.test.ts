/** docs/drivers.md says what the code says. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { builtInDrivers, findDriver } from '../../src/driver/discovery.js';
import { optionalFunctions } from '../../src/driver/driver-shape.js';
import { driverFolders } from '../../src/driver/places.js';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const text = read('docs/drivers.md');
const rows = text
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

test('the built-in drivers stand there with their reach and what they guarantee', async () => {
  for (const name of builtInDrivers) {
    const { about } = await findDriver(name);
    const row = rows.find(([first]) => first === `\`${name}\``);
    assert.deepEqual(row?.slice(1, 3), [`\`${about.reach}\``, about.supervise ? 'yes' : 'no']);
    for (const line of [...about.guarantees, ...about.doesNotGuarantee]) {
      assert.ok(
        rows.some((cells) => cells.length === 1 && cells[0] === line),
        `${name}: "${line}"`,
      );
    }
  }
});

test('the table of functions is that of the contract, and of the built-in drivers', async () => {
  const [header = [], ...lines] = rows.slice(rows.findIndex(([first]) => first === 'function'));
  const described = lines.slice(1, 1 + optionalFunctions.length);
  assert.deepEqual(
    described.map(([name]) => name),
    optionalFunctions.map((name) => `\`${name}\``),
  );
  for (const name of builtInDrivers) {
    const column = header.indexOf(`\`${name}\``);
    const driver = await (await findDriver(name)).factory.start({});
    for (const [index, key] of optionalFunctions.entries()) {
      assert.equal(described[index]?.[column], driver[key] === undefined ? '-' : 'yes', `${name}.${key}`);
    }
    await driver.end?.();
  }
});

test('the example is the one that the tests load', () => {
  assert.ok(text.includes(read('examples/driver-directory/directory.mjs')));
});

test('the folders are named in order', () => {
  const places = driverFolders({ path: '' }).map((folder) => text.indexOf(`\`${folder}\``));
  assert.ok(places.every((place, n) => place > (places[n - 1] ?? 0)));
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, chown, lchown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { builtInDrivers, findDriver, listDrivers } from '../../src/driver/discovery.js';
import type { ListedDriver } from '../../src/driver/discovery.js';
import { driverFolders } from '../../src/driver/places.js';
import type { HoldfastError } from '../../src/errors.js';
import { needs } from '../needs.js';

let root = '';

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-discovery-'));
});
after(() => rm(root, { recursive: true }));

let folders = 0;
async function folder(): Promise<string> {
  const path = join(root, `folder${folders++}`);
  await mkdir(path, { mode: 0o755 });
  return path;
}

function moduleText(name: string, more = ''): string {
  return `export default {
    about: { name: '${name}', reach: 'none', modes: ['exclusive'], guarantees: [], doesNotGuarantee: ['x'], supervise: false },
    start() { return {}; }, ${more}
  };`;
}

async function put(path: string, text: string): Promise<string> {
  await writeFile(path, text, { mode: 0o644 });
  return path;
}

function ofName(list: readonly ListedDriver[], name: string): ListedDriver[] {
  return list.filter((driver) => driver.name === name);
}

test('the built-in drivers are found under their names and loaded when asked for', async () => {
  assert.deepEqual(builtInDrivers, ['nop', 'memory', 'fcntl', 'virtlockd', 'holdfastd', 'sanlock', 'etcd']);
  for (const name of builtInDrivers) {
    const found = await findDriver(name, { path: '' });
    assert.equal(found.about.name, name);
    assert.equal(found.from, 'built in');
  }
});

test('a driver is found as NAME.js, NAME.mjs and NAME/index.js, as an ES module or a CommonJS one', async () => {
  const path = await folder();
  await put(join(path, 'one.js'), moduleText('one'));
  await put(join(path, 'two.mjs'), moduleText('two'));
  await mkdir(join(path, 'three'));
  await put(join(path, 'three/index.js'), moduleText('three'));
  await put(join(path, 'four.js'), moduleText('four').replace('export default', 'module.exports ='));
  const translated = 'Object.defineProperty(exports, "__esModule", { value: true }); exports.default =';
  await put(join(path, 'five.js'), moduleText('five').replace('export default', translated));
  for (const name of ['one', 'two', 'three', 'four', 'five']) {
    const found = await findDriver(name, { path });
    assert.equal(found.from, 'folder');
    assert.ok(found.location.startsWith(path));
    assert.equal(found.factory.about.name, name);
  }
});

test('the first place wins, and the shadowed ones are listed after it', async () => {
  const [first, second] = [await folder(), await folder()];
  await put(join(first, 'twice.mjs'), moduleText('twice'));
  await put(join(second, 'twice.js'), moduleText('twice'));
  await put(join(second, 'twice.mjs'), moduleText('twice'));
  await put(join(second, 'nop.js'), moduleText('nop'));
  const path = `${first}:${second}`;
  assert.equal((await findDriver('twice', { path })).location, join(first, 'twice.mjs'));
  assert.equal((await findDriver('nop', { path })).from, 'built in');

  const list = await listDrivers({ path });
  assert.deepEqual(
    ofName(list, 'twice').map(({ location, shadowed }) => [location, shadowed]),
    [
      [join(first, 'twice.mjs'), false],
      [join(second, 'twice.js'), true],
      [join(second, 'twice.mjs'), true],
    ],
  );
  assert.deepEqual(
    ofName(list, 'nop').map(({ from, shadowed }) => [from, shadowed]),
    [
      ['built in', false],
      ['folder', true],
    ],
  );
});

test('an npm package is found beside the installation, through exports, main or index.js', async () => {
  const prefix = await folder();
  const installation = join(prefix, 'node_modules/holdfast/dist/library');
  await mkdir(installation, { recursive: true });
  const packages: Record<string, [file: string, manifest: object]> = {
    nested: ['lib/main.js', { exports: { '.': { types: './x.d.ts', import: './lib/main.js' } } }],
    flat: ['main.js', { exports: './main.js' }],
    main: ['lib/main.js', { main: 'lib/main.js' }],
    index: ['index.js', {}],
  };
  for (const [name, [file, manifest]] of Object.entries(packages)) {
    const own = join(prefix, `node_modules/holdfast-driver-${name}`);
    await mkdir(join(own, 'lib'), { recursive: true });
    await put(join(own, 'package.json'), JSON.stringify({ type: 'module', ...manifest }));
    await put(join(own, file), moduleText(name));
  }
  const options = { path: '', installation };
  const list = await listDrivers(options);
  for (const [name, [file]] of Object.entries(packages)) {
    const found = await findDriver(name, options);
    assert.equal(found.from, 'npm');
    assert.equal(found.location, join(prefix, `node_modules/holdfast-driver-${name}`, file));
    assert.deepEqual(
      ofName(list, name).map(({ location }) => location),
      [found.location],
    );
  }
  // A folder of the same name comes later.
  const path = await folder();
  await put(join(path, 'flat.js'), moduleText('flat'));
  assert.deepEqual(
    ofName(await listDrivers({ path, installation }), 'flat').map(({ from, shadowed }) => [from, shadowed]),
    [
      ['npm', false],
      ['folder', true],
    ],
  );
});

test('the current folder and its node_modules are no place', async () => {
  const own = await folder();
  await mkdir(join(own, 'node_modules/holdfast-driver-here'), { recursive: true });
  await put(join(own, 'node_modules/holdfast-driver-here/index.js'), moduleText('here'));
  await put(join(own, 'here.js'), moduleText('here'));
  const before = process.cwd();
  process.chdir(own);
  try {
    await assert.rejects(findDriver('here', { path: '' }), { code: 'DRIVER_UNKNOWN' });
  } finally {
    process.chdir(before);
  }
});

test('NODE_PATH and the folders of modules in the home are no place', async () => {
  const own = await folder();
  for (const place of ['node_modules', '.node_modules', '.node_libraries']) {
    await mkdir(join(own, place, 'holdfast-driver-here'), { recursive: true });
    await put(join(own, place, 'holdfast-driver-here/index.js'), moduleText('here'));
  }
  const discovery = new URL('../../src/driver/discovery.ts', import.meta.url).href;
  const script = `import { findDriver } from ${JSON.stringify(discovery)};
    await findDriver('here', { path: '' }).then(() => console.log('found'), ({ code }) => console.log(code));`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', script],
    { encoding: 'utf8', env: { ...process.env, NODE_PATH: join(own, 'node_modules'), HOME: own } },
  );
  assert.equal(stdout, 'DRIVER_UNKNOWN\n', stderr);
});

test('names that could lead elsewhere are no names', async () => {
  const path = await folder();
  for (const name of ['', '.', '../one', 'a/b', 'A', '1a', 'a.js', 'a\0', '-a', 'a '.trim() + '_']) {
    await assert.rejects(findDriver(name, { path }), { code: 'DRIVER_UNKNOWN' }, JSON.stringify(name));
  }
});

test('a name that is nearly that of a built-in driver is told which', async () => {
  await assert.rejects(findDriver('fcntrl', { path: '' }), (error: HoldfastError) => {
    assert.equal(error.code, 'DRIVER_UNKNOWN');
    assert.match(error.remedy ?? '', /^Did you mean `fcntl`\? Built in are /);
    return true;
  });
});

test('a relative folder in HOLDFAST_DRIVER_PATH is an error, an empty one is nothing', () => {
  assert.throws(() => driverFolders({ path: 'drivers' }), { code: 'CONFIG' });
  assert.deepEqual(driverFolders({ path: ':/opt/drivers:' }), [
    '/usr/lib/holdfast/drivers',
    '/etc/holdfast/drivers',
    '/opt/drivers',
  ]);
});

test('a module of another shape is refused, saying what is missing', async () => {
  const path = await folder();
  const cases: Record<string, [text: string, message: RegExp]> = {
    empty: ['', /no default export/],
    startless: ['export default { about: {} };', /no function `start`/],
    aboutless: ['export default { start() {} };', /no `about`/],
    misnamed: [moduleText('other'), /`about.name` is "other", not "misnamed"/],
    reachless: [moduleText('reachless').replace("'none'", "'far'"), /`about.reach`/],
    modeless: [moduleText('modeless').replace("'exclusive'", "'alone'"), /`about.modes`/],
    promiseless: [moduleText('promiseless').replace("['x']", "'x'"), /`about.doesNotGuarantee`/],
    undecided: [moduleText('undecided').replace('supervise: false', 'supervise: 0'), /`about.supervise`/],
    waiting: [`await 1; ${moduleText('waiting')}`, /cannot be loaded/],
    defaultless: ['export const about = {}; export function start() {}', /no default export/],
    syntax: ['export default {', /cannot be loaded/],
    throwing: ['throw new Error("no engine");', /no engine/],
  };
  for (const [name, [text]] of Object.entries(cases)) await put(join(path, `${name}.mjs`), text);
  for (const [name, [, message]] of Object.entries(cases)) {
    await assert.rejects(findDriver(name, { path }), { code: 'DRIVER_BROKEN', message });
  }
});

test('one bad driver hides no other in the list', async () => {
  const path = await folder();
  await put(join(path, 'bad.mjs'), 'export default 1;');
  await put(join(path, 'good.mjs'), moduleText('good'));
  await symlink(join(path, 'gone'), join(path, 'dangling.mjs'));
  const unsafe = await folder();
  await put(join(unsafe, 'open.mjs'), moduleText('open'));
  await chmod(join(unsafe, 'open.mjs'), 0o666);
  const list = await listDrivers({ path: `${unsafe}:${path}` });
  const code = (name: string): string | undefined => ofName(list, name)[0]?.error?.code;
  assert.equal(code('bad'), 'DRIVER_BROKEN');
  assert.equal(code('open'), 'DRIVER_UNSAFE');
  assert.equal(code('dangling'), 'DRIVER_BROKEN');
  assert.equal(ofName(list, 'good')[0]?.about?.name, 'good');
});

test('an unsafe driver is not passed over for the next of its name', async () => {
  const [first, second] = [await folder(), await folder()];
  await put(join(first, 'chosen.mjs'), moduleText('chosen'));
  await chmod(join(first, 'chosen.mjs'), 0o622);
  await put(join(second, 'chosen.mjs'), moduleText('chosen'));
  await assert.rejects(findDriver('chosen', { path: `${first}:${second}` }), { code: 'DRIVER_UNSAFE' });
});

test('what others can change on the way to a driver makes it unsafe', async (t) => {
  const unsafe = async (path: string, name: string, message: RegExp): Promise<void> => {
    await assert.rejects(findDriver(name, { path }), { code: 'DRIVER_UNSAFE', message });
  };

  await t.test('its folder', async () => {
    const path = await folder();
    await put(join(path, 'a.mjs'), moduleText('a'));
    await chmod(path, 0o775);
    await unsafe(path, 'a', /others can write/);
  });

  await t.test('a folder further up', async () => {
    const path = await folder();
    await mkdir(join(path, 'drivers'), { mode: 0o755 });
    await put(join(path, 'drivers/a.mjs'), moduleText('a'));
    await chmod(path, 0o777);
    await unsafe(join(path, 'drivers'), 'a', /others can write/);
    await chmod(path, 0o1777);
    assert.equal((await findDriver('a', { path: join(path, 'drivers') })).name, 'a');
  });

  await t.test('where a symlink leads, and the folder it stands in', async () => {
    const [path, open, safe] = [await folder(), await folder(), await folder()];
    await put(join(open, 'real.mjs'), moduleText('a'));
    await symlink(join(open, 'real.mjs'), join(path, 'a.mjs'));
    assert.equal((await findDriver('a', { path })).location, join(open, 'real.mjs'));
    await chmod(open, 0o777);
    await unsafe(path, 'a', /others can write/);

    // A symlink on the way to a safe file, where others can make it lead elsewhere.
    await put(join(safe, 'real.mjs'), moduleText('b'));
    await symlink(join(safe, 'real.mjs'), join(open, 'link.mjs'));
    await symlink(join(open, 'link.mjs'), join(path, 'b.mjs'));
    await unsafe(path, 'b', /others can write/);
  });

  await t.test('a symlink of another user, wherever it leads', async (inner) => {
    if (!needs(inner, 'root')) return;
    const [path, real] = [await folder(), await folder()];
    await put(join(real, 'real.mjs'), moduleText('a'));
    await symlink(join(real, 'real.mjs'), join(path, 'a.mjs'));
    assert.equal((await findDriver('a', { path })).name, 'a');
    await lchown(join(path, 'a.mjs'), 65534, 65534);
    await unsafe(path, 'a', /a\.mjs: it belongs to user 65534/);
  });

  await t.test('a symlink that leads to itself', async () => {
    const path = await folder();
    await symlink(join(path, 'a.mjs'), join(path, 'a.mjs'));
    await unsafe(path, 'a', /too many symlinks/);
  });

  await t.test('any file of a driver that is a folder', async () => {
    const path = await folder();
    await mkdir(join(path, 'a/lib'), { recursive: true });
    await put(join(path, 'a/index.js'), moduleText('a'));
    await put(join(path, 'a/lib/part.js'), '');
    assert.equal((await findDriver('a', { path })).name, 'a');
    await chmod(join(path, 'a/lib/part.js'), 0o666);
    await unsafe(path, 'a', /part\.js: others can write/);
  });

  await t.test('any file of a folder that a symlink in it leads to', async () => {
    const [path, outside] = [await folder(), await folder()];
    await mkdir(join(path, 'a'));
    await mkdir(join(outside, 'deeper'));
    await put(join(path, 'a/index.js'), moduleText('a'));
    await put(join(outside, 'deeper/lib.js'), '');
    await symlink(outside, join(path, 'a/lib'));
    await symlink('..', join(path, 'a/round'));
    assert.equal((await findDriver('a', { path })).name, 'a');
    await chmod(join(outside, 'deeper/lib.js'), 0o666);
    await unsafe(path, 'a', /lib\.js: others can write/);
  });

  await t.test(
    'any file beside a driver that is a single file, or beside where its symlink leads',
    async () => {
      const [path, links] = [await folder(), await folder()];
      await mkdir(join(path, 'parts'));
      await put(join(path, 'a.mjs'), moduleText('a'));
      await put(join(path, 'parts/part.js'), '');
      await symlink(join(path, 'a.mjs'), join(links, 'a.mjs'));
      assert.equal((await findDriver('a', { path: links })).name, 'a');
      await chmod(join(path, 'parts/part.js'), 0o666);
      await unsafe(path, 'a', /part\.js: others can write/);
      await unsafe(links, 'a', /part\.js: others can write/);
    },
  );

  await t.test(
    'a folder of it, or one that a dangling symlink leads to, where others can add names',
    async () => {
      const [path, open] = [await folder(), await folder()];
      await mkdir(join(path, 'a'));
      await put(join(path, 'a/index.js'), moduleText('a'));
      await symlink(join(open, 'gone'), join(path, 'a/lib.js'));
      assert.equal((await findDriver('a', { path })).name, 'a');
      await chmod(open, 0o1777);
      await unsafe(path, 'a', /others can write/);
      await chmod(open, 0o755);
      await mkdir(join(path, 'a/parts'));
      await chmod(join(path, 'a/parts'), 0o1777);
      await unsafe(path, 'a', /parts: others can write/);
    },
  );

  await t.test('another owner', async (t) => {
    if (!needs(t, 'root')) return;
    const path = await folder();
    await put(join(path, 'a.mjs'), moduleText('a'));
    await chown(join(path, 'a.mjs'), 12_345, 12_345);
    await unsafe(path, 'a', /belongs to user 12345/);
  });
});

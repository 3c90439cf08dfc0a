'use strict';
/**
 * Compiles dist/command's files with the Node that runs this, and writes what V8 made of each beside it. What
 * has to start fast is run first, so that its functions are compiled too, not only declared; what else is compiled costs
 * every start its reading.
 */
const { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { Script } = require('node:vm');

const built = process.argv[2];
const files = ['program', 'guest', 'later'];
const folder = mkdtempSync(join(tmpdir(), 'holdfast-cache-'));
const disk = join(folder, 'disk.img');
const xml = join(folder, 'guest.xml');
const command = join(folder, 'command');

writeFileSync(disk, 'data');
writeFileSync(
  xml,
  `<domain type='qemu'><name>g</name><uuid>5f1c4b2a-7c35-4a0e-9a31-0d6b0f6e8a11</uuid><devices>
  <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='vda'/></disk>
  </devices></domain>`,
);
// A command that is found but cannot be started: everything is done but the last step, which would end this process.
writeFileSync(command, '#!/nonexistent\n');
chmodSync(command, 0o755);
Object.assign(process.env, { HOLDFAST_RUNTIME_DIR: join(folder, 'holds'), XDG_CONFIG_HOME: folder });

// As in loader.cjs, but for the names, which V8 does not compare: where this was built is nobody's concern.
const scripts = Object.fromEntries(
  files.map((file) => [
    `./${file}.js`,
    new Script(readFileSync(join(built, `${file}.js`), 'latin1'), { filename: `${file}.js` }),
  ]),
);

const exit = process.exit.bind(process);
const bug = 70;

function run(...args) {
  const loaded = {};
  const load = (name) => {
    if (loaded[name] !== undefined) return loaded[name].exports;
    if (scripts[name] === undefined) return require(name);
    const module = (loaded[name] = { exports: {} });
    scripts[name].runInThisContext()(module.exports, load, module, join(built, name), built);
    return module.exports;
  };
  load.resolve = require.resolve;
  return new Promise((resolve) => {
    process.argv = [process.argv[0], join(built, 'holdfast'), ...args];
    process.exit = resolve;
    load('./program.js');
  });
}

async function main() {
  try {
    for (const args of [
      ['run', '--xml', xml, '--', command],
      ['run', '--disk', disk, '--', command],
    ]) {
      if ((await run(...args)) === bug) throw new Error(`holdfast ${args.join(' ')} failed`);
    }
    for (const file of files) {
      writeFileSync(
        join(built, `${file}-${process.versions.v8}-${process.arch}.cache`),
        scripts[`./${file}.js`].createCachedData(),
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().then(
  () => exit(0),
  (error) => {
    process._rawDebug(error.stack);
    exit(1);
  },
);

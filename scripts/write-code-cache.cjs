'use strict';
/**
 * Compiles dist/command/program.js with the Node that runs this, and writes what V8 made of it beside it. What
 * has to start fast is run first, so that its functions are compiled too, not only declared; what else is compiled costs
 * every start its reading.
 */
const { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { dirname, join } = require('node:path');
const { Script } = require('node:vm');

const filename = process.argv[2];
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

// As in loader.cjs, but for the name, which V8 does not compare: where this was built is nobody's concern.
const script = new Script(readFileSync(filename, 'latin1'), {
  filename: 'program.js',
});

const exit = process.exit.bind(process);
const bug = 70;

function run(...args) {
  return new Promise((resolve) => {
    process.argv = [process.argv[0], filename, ...args];
    process.exit = resolve;
    const module = { exports: {} };
    script.runInThisContext()(module.exports, require, module, filename, dirname(filename));
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
    const { v8 } = process.versions;
    writeFileSync(join(dirname(filename), `program-${v8}-${process.arch}.cache`), script.createCachedData());
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

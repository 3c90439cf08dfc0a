'use strict';
/**
 * Compiles dist/command's files with the Node that runs this, and writes what V8 made of each beside it. What
 * has to start fast is run first, so that its functions are compiled too, not only declared; what else is compiled costs
 * every start its reading.
 */
const { createServer } = require('node:http2');
const { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { Script } = require('node:vm');

const built = process.argv[2];
const files = ['program', 'guest', 'sanlock', 'etcd', 'later'];
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
Object.assign(process.env, {
  HOLDFAST_RUNTIME_DIR: join(folder, 'holds'),
  XDG_CONFIG_HOME: folder,
  SANLOCK_RUN_DIR: join(folder, 'nobody'),
});

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

/** The answers of an etcd that grants everything: the name of a call, and its message. Field 1 is the header (rpc.proto). */
const header = [0x0a, 0x08, 0x08, 0x01, 0x10, 0x01, 0x18, 0x05, 0x20, 0x02];
const answers = {
  // ID 7, TTL 10.
  LeaseGrant: [...header, 0x10, 0x07, 0x18, 0x0a],
  LeaseRevoke: header,
  // Succeeded.
  Txn: [...header, 0x10, 0x01],
};

/** Serves them; gives the port. */
function serveEtcd() {
  const server = createServer();
  server.on('stream', (stream, { ':path': path }) => {
    const message = answers[path.slice(path.lastIndexOf('/') + 1)] ?? header;
    stream.on('error', () => undefined);
    stream.on('data', () => undefined);
    stream.on('end', () => {
      if (stream.destroyed) return;
      stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      // A frame of gRPC: not compressed, the length, the message.
      stream.end(Buffer.from([0, 0, 0, 0, message.length, ...message]));
    });
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
}

async function main() {
  try {
    const configuration = join(folder, 'etcd.toml');
    writeFileSync(configuration, `[driver.etcd]\nendpoints = ["http://127.0.0.1:${await serveEtcd()}"]\n`);
    for (const args of [
      ['run', '--xml', xml, '--', command],
      ['run', '--config', configuration, '--driver', 'etcd', '--disk', disk, '--', command],
      // No daemon answers: what comes before asking it is what costs a start.
      ['run', '--driver', 'sanlock', '--lease', `a:b:${disk}`, '--', command],
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

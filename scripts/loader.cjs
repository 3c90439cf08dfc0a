'use strict';
// The program's files are not left to require(): this way V8 takes along the code that was compiled at build time, which
// saves 10 ms of each start. Where it does not fit (another V8, other flags), V8 says so itself and compiles as usual.
const { readFileSync } = require('node:fs');
const { Script } = require('node:vm');

const loaded = { __proto__: null };

/** Its own files, which require one another in a circle as CommonJS allows; all else is Node's to find. */
function load(name) {
  const known = loaded[name];
  if (known !== undefined) return known.exports;
  const file = name.slice(2, -3);
  if (name !== `./${file}.js`) return require(name);
  let cachedData;
  try {
    cachedData = readFileSync(`${__dirname}/${file}-${process.versions.v8}-${process.arch}.cache`);
  } catch {
    // Built by another Node: slower, not worse.
  }
  const filename = `${__dirname}/${file}.js`;
  const script = new Script(readSource(filename), { filename, cachedData });
  const mine = { exports: {} };
  loaded[name] = mine;
  script.runInThisContext()(mine.exports, load, mine, filename, __dirname);
  return mine.exports;
}

function readSource(filename) {
  try {
    return readFileSync(filename, 'latin1');
  } catch (error) {
    process.stderr.write(
      `holdfast: ${filename} cannot be read (${error.code}): the command needs the files that it is installed with\n` +
        '  try       A symlink to the installed command works, a copy of it alone does not.\n',
    );
    process.exit(127);
  }
}

load.resolve = require.resolve;

load('./program.js');

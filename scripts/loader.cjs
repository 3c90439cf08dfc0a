'use strict';
// program.js is not left to require(): this way V8 takes along the code that was compiled at build time, which saves
// 10 ms of each start. Where it does not fit (another V8, other flags), V8 says so itself and compiles as usual.
const { readFileSync } = require('node:fs');
const { Script } = require('node:vm');

const filename = `${__dirname}/program.js`;
let cachedData;
try {
  cachedData = readFileSync(`${__dirname}/program-${process.versions.v8}-${process.arch}.cache`);
} catch {
  // Built by another Node: slower, not worse.
}
const script = new Script(readFileSync(filename, 'latin1'), {
  filename,
  cachedData,
});
script.runInThisContext()(exports, require, module, filename, __dirname);

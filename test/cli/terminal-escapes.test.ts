/** What others chose, file names, names of programs and guests, never reaches a terminal raw. */
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { renderRefusal } from '../../src/cli/render-refusal.js';
import { waitingText } from '../../src/cli/waiting-line.js';
import { HoldfastError } from '../../src/errors.js';
import { call, commandFolder, holdfast, start } from '../beds/command.js';

const folder = commandFolder();
const nasty = 'ev\u001B[31mil\u001B]0;pwned\u0007\nline\u202Etwo';
// oxlint-disable-next-line no-control-regex -- that is what is looked for
const raw = /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u202A-\u202E]/;

test('refusals and waiting lines', () => {
  const holder = { guest: nasty, program: nasty, pid: 7, through: [nasty], evidence: [], remedy: nasty };
  const error = new HoldfastError('IN_USE', `${nasty} is in use`, {
    resource: nasty,
    mode: 'exclusive',
    holders: [holder],
  });
  const text = renderRefusal(error);
  assert.doesNotMatch(text, raw);
  assert.equal(text.split('\n').length, 5);
  assert.doesNotMatch(waitingText({ refusal: error, waitedMs: 1 }), raw);
});

test('a disk and a program with such names, through run, plan and list', async () => {
  const disk = join(folder, `${nasty}.img`);
  const program = join(folder, nasty.replaceAll('/', ''));
  writeFileSync(disk, '');
  copyFileSync('/bin/sleep', program);
  const first = start(holdfast, ['run', '--disk', disk, '--', program, '60']);
  for (let look = 0; look < 200; look++) {
    const { stdout } = await call(['list']);
    if (stdout.includes('exclusive')) {
      assert.doesNotMatch(stdout, raw);
      break;
    }
  }
  const refused = await call(['run', '--disk', disk, '--', 'true']);
  assert.equal(refused.status, 75);
  assert.match(refused.stderr, /ev\\u\{1b\}\[31mil/);
  assert.doesNotMatch(refused.stderr, raw);
  const planned = await call(['plan', '--disk', disk]);
  assert.equal(planned.status, 75);
  assert.doesNotMatch(planned.stdout, raw);
  first.child.kill('SIGKILL');
  await first.exited;
});

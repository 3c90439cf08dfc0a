import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseArguments } from '../../src/cli/parse-arguments.js';
import { HoldfastError } from '../../src/errors.js';
import { privateFolder } from '../beds/private-folder.js';

function usageOf(...argv: string[]): { message: string; remedy: string } {
  try {
    parseArguments(argv);
  } catch (error) {
    assert.ok(error instanceof HoldfastError);
    assert.equal(error.code, 'USAGE');
    assert.equal(error.exitCode, 64);
    return { message: error.message, remedy: error.remedy };
  }
  throw new Error(`accepted: ${argv.join(' ')}`);
}

test('options repeat, and what stands behind the dashes is left alone', () => {
  const parsed = parseArguments([
    'run',
    '--disk',
    'a',
    '--disk=b:read',
    '--xml',
    '-',
    '--',
    'sh',
    '-c',
    'x',
    '--',
    '--json',
  ]);
  assert.equal(parsed?.command.name, 'run');
  assert.deepEqual(parsed.options.list('disk'), ['a', 'b:read']);
  assert.deepEqual(parsed.options.list('xml'), ['-']);
  assert.equal(parsed.options.has('json'), false);
  assert.deepEqual(parsed.operands, ['sh', '-c', 'x', '--', '--json']);
});

test('--wait takes its value only joined', () => {
  assert.equal(parseArguments(['run', '--wait', '--', 'true'])?.options.text('wait'), '');
  assert.equal(parseArguments(['run', '--wait=30s', '--', 'true'])?.options.text('wait'), '30s');
  assert.equal(usageOf('run', '--wait', '30s', '--', 'true').remedy, 'Write: --wait=30s');
  assert.match(usageOf('run', '--wait', 'cp', 'a', 'b').remedy, /OPTIONS -- cp/);
});

test('the short options', () => {
  const parsed = parseArguments(['run', '-qE', '9', '--', 'true']);
  assert.equal(parsed?.options.has('quiet'), true);
  assert.equal(parsed.options.text('conflict-exit-code'), '9');
});

test('a wrong option or command names the nearest', () => {
  assert.deepEqual(usageOf('run', '--alow-unlocked', '--', 'x'), {
    message: 'run has no option --alow-unlocked',
    remedy: 'Did you mean --allow-unlocked?',
  });
  assert.equal(usageOf('lsit').remedy, 'Did you mean list?');
  assert.equal(
    usageOf('run', '--on-lost=powerof', '--supervise', '--', 'x').remedy,
    'Did you mean poweroff?',
  );
  assert.match(usageOf('constructor').message, /no command constructor/);
  assert.match(usageOf('frobnicate').remedy, /The commands are run, plan/);
  assert.match(usageOf('run', '--zzzzzz', '--', 'x').remedy, /help run/);
});

test('a forgotten value is said', () => {
  assert.match(usageOf('plan', '--disk').message, /--disk needs a value/);
  assert.match(usageOf('plan', '--disk', '--json').message, /--disk needs a value, but '--json' follows/);
  assert.match(usageOf('plan', '--disk=').message, /--disk needs a value/);
  assert.match(usageOf('plan', '--json=1').message, /--json takes no value/);
  assert.equal(parseArguments(['plan', '--disk=--json'])?.options.text('disk'), '--json');
});

test('durations, exit statuses and choices are checked', () => {
  assert.match(usageOf('run', '--wait=soon', '--', 'x').remedy, /30s/);
  assert.match(usageOf('run', '-E', '256', '--', 'x').remedy, /0 to 255/);
  assert.match(usageOf('run', '--qemu-lock', 'maybe', '--', 'x').remedy, /one of check, hold, off/);
});

test('what cannot be repeated is refused, not overridden', () => {
  assert.match(usageOf('plan', '--driver', 'a', '--driver', 'b').message, /--driver is given twice/);
  assert.equal(parseArguments(['plan', '--json', '--json'])?.options.has('json'), true);
});

test('what needs another option says so', () => {
  assert.match(usageOf('break', 'x', '--because', 'y').message, /only with --host-is-dead/);
});

test('run needs a command behind dashes', () => {
  assert.match(usageOf('run', '--disk', 'a').message, /no command to run/);
  assert.match(usageOf('run', '--disk', 'a', '--').message, /nothing stands behind/);
  assert.match(usageOf('run', '--disk', 'a', 'true').remedy, /OPTIONS -- true/);
  assert.match(usageOf('list', 'x').message, /takes no 'x'/);
  assert.match(usageOf('--disk', 'run').remedy, /holdfast COMMAND --disk/);
});

test('a word that is a file is told the option for it; a program is not', () => {
  const folder = privateFolder();
  const disk = join(folder, 'web1.qcow2');
  const xml = join(folder, 'web1.xml');
  const program = join(folder, 'program');
  for (const [path, mode] of [
    [disk, 0o600],
    [xml, 0o600],
    [program, 0o700],
  ] as const)
    writeFileSync(path, '', { mode });
  assert.equal(usageOf('plan', disk).remedy, `Write: holdfast plan --disk ${disk}`);
  assert.equal(usageOf('plan', xml).remedy, `Write: holdfast plan --xml ${xml}`);
  assert.equal(
    usageOf('run', disk, '--', 'x').remedy,
    `Write: holdfast run --disk ${disk} -- COMMAND [ARGUMENT...]`,
  );
  assert.match(usageOf('run', program).remedy, /OPTIONS -- \//);
  assert.equal(usageOf('attach', 'web1', disk).remedy, `Write: holdfast attach --disk ${disk} web1`);
  assert.equal(usageOf('attach', disk, 'web1').remedy, `Write: holdfast attach --disk ${disk} web1`);
  assert.equal(usageOf('attach', 'web 1', disk).remedy, `Write: holdfast attach --disk ${disk} HOLD`);
  assert.equal(usageOf('attach', 'web1', 'web2', disk).remedy, `Write: holdfast attach --disk ${disk} HOLD`);
  assert.match(usageOf('release', 'web1', disk).remedy, /help release/);
  assert.match(usageOf('plan', join(folder, 'missing')).remedy, /help plan/);
});

test('help and version, in all their spellings', () => {
  for (const argv of [['--help'], ['-h'], ['help']]) assert.equal(parseArguments(argv)?.command.name, 'help');
  for (const argv of [['--version'], ['-V'], ['version']]) {
    assert.equal(parseArguments(argv)?.command.name, 'version');
  }
  assert.deepEqual(parseArguments(['run', '--help'])?.operands, ['run']);
  assert.deepEqual(parseArguments(['help', 'plan'])?.operands, ['plan']);
  assert.equal(parseArguments([]), undefined);
});

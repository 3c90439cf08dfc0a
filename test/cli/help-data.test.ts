import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from '../../src/cli/command-table.js';
import { exitCodes } from '../../src/cli/exit-codes.js';
import { helpData } from '../../src/cli/help-data.js';
import { parseArguments } from '../../src/cli/parse-arguments.js';

test('the help as data has every command, option and example, and the exit statuses', () => {
  const data = helpData(undefined);
  assert.deepEqual(JSON.parse(JSON.stringify(data)), data);
  assert.deepEqual(
    data.commands.map(({ name, options, examples }) => [
      name,
      options.map((option) => option.name),
      examples.map(({ line }) => line),
    ]),
    commands.map(({ name, options, examples }) => [
      name,
      options.map((option) => `--${option.name}`),
      examples.map(({ line }) => line),
    ]),
  );
  assert.deepEqual(
    data.exitStatuses.map(({ status }) => status),
    exitCodes.map(([status]) => status),
  );
});

test('an option says how it is written and what it takes', () => {
  const [run] = helpData('run').commands;
  assert.equal(run?.usage, 'holdfast run [OPTIONS] -- COMMAND [ARGUMENT...]');
  const option = (name: string): unknown => run.options.find((one) => one.name === name);
  assert.deepEqual(option('--quiet'), {
    name: '--quiet',
    short: '-q',
    help: 'No notes and no progress; errors only.',
    repeat: false,
  });
  const wait = option('--wait') as { help: string };
  assert.deepEqual(wait, {
    name: '--wait',
    value: 'TIME',
    valueIsOptional: true,
    form: 'duration',
    repeat: false,
    help: wait.help,
  });
  const lost = option('--on-lost') as { choices: unknown };
  assert.deepEqual(lost.choices, ['poweroff', 'restart', 'pause', 'ignore']);
  const [breaks] = helpData('break').commands;
  assert.equal(breaks?.options.find(({ name }) => name === '--because')?.needs, '--host-is-dead');
  assert.equal((option('--disk') as { repeat: boolean }).repeat, true);
});

test('of one command it has that one alone, and an unknown one is an error', () => {
  assert.deepEqual(
    helpData('plan').commands.map(({ name }) => name),
    ['plan'],
  );
  assert.throws(() => helpData('plam'), { code: 'USAGE', remedy: 'Did you mean plan?' });
});

test('every command takes --json, and --help keeps it', () => {
  for (const { name, options } of commands) {
    assert.ok(
      options.some((option) => option.name === 'json'),
      name,
    );
    const parsed = parseArguments([name, '--json', '--help']);
    assert.equal(parsed?.command.name, 'help');
    assert.deepEqual(parsed.operands, [name]);
    assert.equal(parsed.options.has('json'), true);
    assert.equal(parseArguments([name, '--help'])?.options.has('json'), false);
  }
  for (const word of ['--help', '-h', '--version', '-V']) {
    const parsed = parseArguments([word, '--json']);
    assert.equal(parsed?.options.has('json'), true, word);
    assert.deepEqual(parsed.operands, []);
  }
});

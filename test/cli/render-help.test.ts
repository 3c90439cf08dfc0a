import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { commands } from '../../src/cli/command-table.js';
import { exitCodes } from '../../src/cli/exit-codes.js';
import { renderCommandHelp, renderMarkdown, renderOverview } from '../../src/cli/render-help.js';
import { noStyle } from '../../src/cli/style.js';
import { errorCodes } from '../../src/errors.js';

test('docs/cli.md is what `holdfast help --markdown` prints', () => {
  const file = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
  assert.equal(file, renderMarkdown(), 'run: node dist/command/holdfast help --markdown > docs/cli.md');
});

test('the help names every command, option and example, within 100 columns', () => {
  const overview = renderOverview(noStyle);
  for (const command of commands) {
    assert.ok(overview.includes(command.summary));
    const text = renderCommandHelp(command, noStyle);
    for (const { name } of command.options)
      assert.ok(text.includes(`--${name}`), `${command.name} --${name}`);
    for (const { line } of command.examples) assert.ok(text.includes(line));
    const long = text.split('\n').filter((line) => line.length > 110);
    assert.deepEqual(long, []);
  }
});

test('each exit status of an error is explained', () => {
  const explained = exitCodes.map(([status]) => status);
  for (const { exit } of Object.values(errorCodes)) assert.ok(explained.includes(String(exit)), String(exit));
});

test('no two options of a command share a name or a letter', () => {
  for (const { name, options } of commands) {
    const spellings = options.flatMap((option) => [
      option.name,
      ...(option.short === undefined ? [] : [option.short]),
    ]);
    assert.equal(new Set(spellings).size, spellings.length, name);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { commands } from '../../src/cli/command-table.js';
import { scanWords } from '../../src/cli/scan-words.js';

const { options } = commands.find(({ name }) => name === 'run') ?? { options: [] };

/** The oracle: Node's parseArgs, told of `--wait` without a value in the one way that it understands. */
function parsedByNode(words: readonly string[]): unknown[] {
  const config = options.map(({ name, value, short }) => [
    name,
    { type: value === undefined ? 'boolean' : 'string', ...(short === undefined ? {} : { short }) },
  ]);
  const { tokens } = parseArgs({
    args: words.map((word) => (word === '--wait' ? '--wait=' : word)),
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(config) as Record<string, { type: 'string' | 'boolean'; short?: string }>,
  });
  return tokens.map((token) => {
    if (token.kind === 'positional') return token.value;
    if (token.kind !== 'option') return token.kind;
    return [token.rawName, token.value, token.inlineValue === true];
  });
}

function scanned(words: readonly string[]): unknown[] {
  return scanWords(options, words).map(({ word, spelled, option, value, inline }) => {
    if (spelled === undefined) return word;
    return [spelled, value, inline || option?.valueIsOptional === true];
  });
}

test('words are options and values as Node has it', () => {
  const word = fc.oneof(
    fc.constantFrom(
      '--disk',
      '--disk=a',
      '--disk=',
      '--wait',
      '--wait=5s',
      '--json',
      '--json=1',
      '--none',
      '--none=1',
    ),
    fc.constantFrom(
      '-q',
      '-E',
      '-E9',
      '-qE',
      '-qE9',
      '-Eq',
      '-x',
      '-qx',
      '-hq',
      '-',
      '',
      'a',
      '--d',
      '---',
      '-q=1',
    ),
    // Node makes the end of all options of the second dash in `-a-`, and knows two readings of `--=`.
    fc
      .stringMatching(/^-{0,2}[a-zE=-]{0,4}$/)
      .filter((text) => text !== '--' && !/^-[^-].*-|^--=/.test(text)),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (words) => {
      // A value that follows is the next word even if it is --wait: there the oracle's own spelling shows.
      const plain = (list: unknown): string => JSON.stringify(list).replaceAll('--wait=', '--wait');
      assert.equal(plain(scanned(words)), plain(parsedByNode(words)));
    }),
    { numRuns: 5000 },
  );
});

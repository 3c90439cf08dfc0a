/** Limits of style that no linter knows. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { version } from '../../src/version.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A file has one subject. Above this length it surely has two. */
const linesMax = 400;
const typicalLinesMax = 120;

function filesIn(folder: string, end: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(end))
    .map((file) => join(folder, file));
}

function textOf(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

function linesOf(file: string): number {
  return textOf(file).split('\n').length - 1;
}

test('files are short', () => {
  const sources = filesIn('src', '.ts');
  const long = sources.filter((file) => linesOf(file) > linesMax);
  assert.deepEqual(long, []);
  const short = sources.filter((file) => linesOf(file) <= typicalLinesMax);
  assert.ok(short.length > sources.length / 2, `most files have at most ${typicalLinesMax} lines`);
});

test('files are named for what they hold', () => {
  for (const file of [...filesIn('src', '.ts'), ...filesIn('test', '.ts')]) {
    assert.match(basename(file), /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.slow)?(?:\.test)?\.ts$/, file);
    assert.doesNotMatch(file, /\b(?:utils?|helpers?|common|misc)\b/, file);
  }
});

test('output goes through one place: no console, no process.stdout', () => {
  for (const file of filesIn('src', '.ts')) {
    const code = textOf(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    assert.doesNotMatch(code, /\bconsole\.|process\.(?:stdout|stderr|stdin)\b/, file);
  }
});

test('nothing is left for later', () => {
  for (const file of [...filesIn('src', '.ts'), ...filesIn('scripts', '.mjs'), ...filesIn('docs', '.md')]) {
    assert.doesNotMatch(textOf(file), /\b(?:TODO|FIXME|XXX|HACK)\b/, file);
  }
});

test('the version is the one of package.json', () => {
  const { version: packaged } = JSON.parse(textOf('package.json')) as { version: string };
  assert.equal(version, packaged);
});

test('links between documents lead somewhere', () => {
  const documents = [...readdirSync(root).filter((file) => file.endsWith('.md')), ...filesIn('docs', '.md')];
  for (const document of documents) {
    for (const { groups } of textOf(document).matchAll(/\]\((?<path>[^)#:]+)(?:#[^)]*)?\)/g)) {
      const target = join(dirname(document), groups?.['path'] ?? '');
      assert.doesNotThrow(() => readdirOrRead(target), `${document} links to ${target}`);
    }
  }
});

function readdirOrRead(path: string): void {
  try {
    textOf(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
  }
}

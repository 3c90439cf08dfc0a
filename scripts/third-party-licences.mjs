/** The licences of what is bundled, as their owners ask: the text stands beside the code. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const licenceFile = /^(?:licen[cs]e|copying|notice)(?:[.-].*)?$/i;
const packageFolder = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;

function entryOf(folder) {
  const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const texts = readdirSync(folder)
    .filter((file) => licenceFile.test(file))
    .map((file) => readFileSync(join(folder, file), 'utf8').trim());
  if (typeof license !== 'string') throw new Error(`${name} does not say which licence it has`);
  // A few have only that word in their package.json.
  const by = typeof author === 'string' ? author : author?.name;
  if (texts.length === 0) texts.push(`${license}${by === undefined ? '' : `, by ${by}`}`);
  return [`${name} ${version} (${license})`, texts.join('\n\n')];
}

/** Writes the file for the packages that these modules are of; a package has one entry, however many of its files are used. */
export function writeLicences(file, moduleIds) {
  const folders = new Set(
    moduleIds.map((id) => packageFolder.exec(id)?.[0]).filter((one) => one !== undefined),
  );
  const entries = new Map([...folders].map(entryOf).toSorted(([one], [other]) => (one < other ? -1 : 1)));
  const parts = [...entries].map(
    ([title, text]) => `${'='.repeat(title.length)}\n${title}\n${'='.repeat(title.length)}\n\n${text}\n`,
  );
  writeFileSync(file, `What follows is part of this build. Each has its own licence.\n\n${parts.join('\n')}`);
}

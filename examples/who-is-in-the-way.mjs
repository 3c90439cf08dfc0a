/**
 * Asks who is in the way of a guest's start, and locks nothing.
 *
 *   node who-is-in-the-way.mjs web1.xml
 */
import { readFile } from 'node:fs/promises';
import { plan } from 'holdfast';

const [xmlFile] = process.argv.slice(2);
if (xmlFile === undefined) {
  console.error('usage: node who-is-in-the-way.mjs DOMAIN.xml');
  process.exit(64);
}

const { granted, states, requests } = await plan(await readFile(xmlFile, 'utf8'));
for (const [index, { free, holders }] of states.entries()) {
  if (free) continue;
  const { label } = requests[index].resource;
  for (const { guest, program, pid, since, through } of holders) {
    console.log(
      `${label}: ${guest ?? program ?? 'someone'} (pid ${pid}) since ${since}, through ${through.join(', ')}`,
    );
  }
}
console.log(granted ? 'nobody' : 'it would not be granted');

/** The README and docs/guides/, run as they are. The guide to libguestfs has a test of its own: each launch takes half a minute. */
import { readdirSync } from 'node:fs';
import { commandFolder } from '../beds/command.js';
import { testGuide } from '../beds/test-guide.js';

const folder = commandFolder();
const guides = readdirSync(new URL('../../docs/guides/', import.meta.url));

testGuide('README.md', folder);
for (const name of guides.filter((each) => each !== 'libguestfs.md'))
  testGuide(`docs/guides/${name}`, folder);

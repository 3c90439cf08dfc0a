/** docs/guides/libguestfs.md, run as it is, with real appliances under TCG. */
import { commandFolder } from '../beds/command.js';
import { testGuide } from '../beds/test-guide.js';

testGuide('docs/guides/libguestfs.md', commandFolder());

/** The wire suite's answers are those that a real virtlockd gives. */
import { after, before, describe, test } from 'node:test';
import { privateFolder } from '../beds/private-folder.js';
import { startVirtlockd, type Virtlockd } from '../beds/virtlockd.js';
import { lacks } from '../needs.js';
import { runWireCase, wireCases } from './wire-suite.js';

const folder = privateFolder();

describe('the wire suite against virtlockd', { skip: lacks('root', 'unshare', 'virtlockd') }, () => {
  let virtlockd: Virtlockd;
  before(async () => {
    virtlockd = await startVirtlockd(folder);
  });
  after(() => virtlockd.stop());

  for (const wireCase of wireCases) {
    test(wireCase.name, () =>
      runWireCase(wireCase, { name: 'virtlockd', socket: virtlockd.socket, pid: virtlockd.pid, folder }),
    );
  }
});

/** The wire suite's answers are those that our server gives, but for what it does differently on purpose. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { buildLockd, startLockd, type Lockd } from '../beds/lockd.js';
import { privateFolder } from '../beds/private-folder.js';
import { lacks } from '../needs.js';
import { runWireCase, wireCases, type Differences } from './wire-suite.js';

const folder = privateFolder();

/** Answers that only libvirt's own words are compared of: who is in the way stands behind them. */
const whoHolds = / by guest ".*" \(pid \S+\) since \S+(?: and \d+ more)?$/;

const notLocked = (name: string): string => `87/51 resource busy: Lockspace resource '${name}' is not locked`;
const outside = 'A name in a lockspace is one file of its directory, never a way out of it.';
const symlink =
  "Nobody puts a symlink among lock files for a good reason; what it leads to is somebody else's.";
const oneFile =
  'A lock of an open file description belongs to one opening of the file, not to the whole daemon: two guests on one disk are told apart whatever they call it.';

const differences: Differences = {
  'names that lead elsewhere: 3': {
    answer: "29/51 operation forbidden: '../outside' is no name of a resource in a lockspace",
    why: outside,
  },
  'names that lead elsewhere: 4': { answer: notLocked('../outside'), why: outside },
  'names that lead elsewhere: 5': {
    answer: "29/51 operation forbidden: '' is no name of a resource in a lockspace",
    why: outside,
  },
  'names that lead elsewhere: 6': {
    answer: '38/51 Unable to open resource FOLDER/space/link: Too many levels of symbolic links [40]',
    why: symlink,
  },
  'names that lead elsewhere: 7': { answer: notLocked('link'), why: symlink },
  'one file by two paths: 4': {
    answer: "87/51 resource busy: Lockspace resource 'FOLDER/link' is locked",
    why: oneFile,
  },
  'one file by two paths: 5': { answer: notLocked('FOLDER/link'), why: oneFile },
  'a zero byte in a string: 1': {
    answer: 'ea7beef/1/8 type 1 serial 5: 39/7 Unable to decode message payload',
    why: 'The path that would be used is not the path that was sent.',
  },
  'a frame longer than any call can be: 1': {
    answer: 'closed',
    why: 'It would only ever be an error; nobody is to make the daemon gather 32 MiB for each connection.',
  },
  'a frame longer than any call can be: 2': { answer: 'closed', why: 'The same.' },
};

describe('the wire suite against holdfastd', { skip: lacks('root') }, () => {
  let lockd: Lockd;
  const used = new Set<string>();
  before(async () => {
    lockd = await startLockd(await buildLockd(folder), folder);
  });
  after(() => lockd.stop());

  for (const wireCase of wireCases) {
    test(wireCase.name, () =>
      runWireCase(
        wireCase,
        { name: 'holdfastd', socket: lockd.socket, pid: lockd.keeperPid, folder, adds: whoHolds },
        differences,
        used,
      ),
    );
  }

  test('each difference is one', () => {
    assert.deepEqual(
      Object.keys(differences).filter((step) => !used.has(step)),
      [],
    );
  });
});

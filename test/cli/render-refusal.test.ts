import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderRefusal } from '../../src/cli/render-refusal.js';
import { HoldfastError } from '../../src/errors.js';
import type { Holder } from '../../src/vocabulary.js';

const now = new Date(2024, 4, 3, 15, 0, 0);
const since = new Date(2024, 4, 3, 13, 18, 51).toISOString();

const web1: Holder = {
  guest: 'web1',
  program: 'qemu-system-x86_64',
  pid: 5783,
  user: 'root',
  host: 'this host',
  since,
  through: ['virtlockd', "QEMU's own image lock"],
  evidence: [],
  remedy: 'virsh shutdown web1',
};

function inUse(holders: readonly Holder[], mode = 'exclusive'): HoldfastError {
  const resource = '/var/lib/images/a.qcow2';
  const asked = mode === 'exclusive' ? 'exclusively' : 'for reading';
  const message = `${resource} is in use (you asked for it ${asked})`;
  return new HoldfastError('IN_USE', message, { resource, mode, holders });
}

test('the form that the design gives', () => {
  assert.equal(
    renderRefusal(inUse([web1]), { now, waitCommand: 'holdfast run --wait=5m ...' }),
    `holdfast: /var/lib/images/a.qcow2 is in use (you asked for it exclusively)
  held by   guest "web1" (qemu-system-x86_64, pid 5783) on this host since 13:18:51
  through   virtlockd, and QEMU's own image lock
  try       virsh shutdown web1, or wait for it: holdfast run --wait=5m ...
`,
  );
});

test('a remedy that speaks of waiting already is not said twice', () => {
  const holder = { ...web1, remedy: 'stop it, or wait for it' };
  const text = renderRefusal(inUse([holder]), { now, waitCommand: 'holdfast run --wait=5m ...' });
  assert.match(text, /try {7}stop it, or wait for it: holdfast run --wait=5m \.\.\.\n$/);
});

test('several holders, each with its way', () => {
  const copy: Holder = {
    program: 'qemu-img',
    pid: 12,
    user: 'bob',
    host: 'this host',
    since: new Date(2024, 4, 2, 1, 2, 3).toISOString(),
    through: ['a', 'b', 'c'],
    evidence: [],
  };
  const elsewhere: Holder = { through: ['a lock that no process here has'], evidence: [] };
  assert.equal(
    renderRefusal(inUse([copy, elsewhere], 'read'), { now }),
    `holdfast: /var/lib/images/a.qcow2 is in use (you asked for it for reading)
  held by   qemu-img (pid 12, user bob) on this host since 2024-05-02 01:02:03
  through   a, b, and c
  held by   someone who cannot be seen from here
  through   a lock that no process here has
  try       Stop that, or wait for it with --wait.
`,
  );
});

test('other errors: message, cause, remedy', () => {
  const place = { file: 'guest.xml', line: 3, column: 7 };
  const error = new HoldfastError('BAD_UUID', "'x' is no uuid", { place, cause: new Error('some\n  cause') });
  assert.equal(
    renderRefusal(error),
    `holdfast: guest.xml:3:7: 'x' is no uuid
  because   some cause
  try       An uuid has 32 hexadecimal digits; \`uuidgen\` makes one.
`,
  );
  const said = new HoldfastError('NO_SUCH_FILE', 'a: ENOENT', {
    cause: new Error('ENOENT'),
    remedy: 'Look.',
  });
  assert.equal(renderRefusal(said), 'holdfast: a: ENOENT\n  try       Look.\n');
  const system = Object.assign(new Error("EACCES: permission denied, open 'a'"), { code: 'EACCES' });
  const denied = new HoldfastError('NOT_READABLE', 'a cannot be read: EACCES', { cause: system });
  assert.doesNotMatch(renderRefusal(denied), /because/);
  const unsaid = new HoldfastError('CONFIG', 'a cannot be read', { cause: system });
  assert.match(renderRefusal(unsaid), /because {3}EACCES: permission denied/);
  const named = new HoldfastError('BAD_UUID', "guest.xml:3:7: 'x' is no uuid", { place });
  assert.match(renderRefusal(named), /^holdfast: guest\.xml:3:7: 'x' is no uuid\n/);
});

test('a holder that has a name of its own is called by it', () => {
  const backup: Holder = {
    name: 'nightly backup',
    program: 'qemu-img',
    pid: 7,
    user: 'root',
    host: 'this host',
    through: ['Holdfast (fcntl)'],
    evidence: [],
  };
  assert.match(
    renderRefusal(inUse([backup]), { now }),
    /^ {2}held by {3}nightly backup \(qemu-img, pid 7, user root\) on this host$/m,
  );
});

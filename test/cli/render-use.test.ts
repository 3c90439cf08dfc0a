import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderUse } from '../../src/cli/render-use.js';
import { noStyle } from '../../src/cli/style.js';
import type { ResourceUse } from '../../src/index.js';
import type { Holder, Resource } from '../../src/vocabulary.js';

const now = new Date(2024, 4, 3, 15, 0, 0);
const since = new Date(2024, 4, 3, 13, 18, 51).toISOString();

const disk: Resource = {
  kind: 'disk',
  identity: 'file:host:254:0:7',
  label: '/a.qcow2',
  storage: 'file',
  scope: 'host',
};

const web1: Holder = {
  guest: 'web1',
  program: 'qemu-system-x86_64',
  pid: 5783,
  host: 'this host',
  since,
  refuses: ['exclusive', 'shared', 'read', 'part'],
  through: ['virtlockd', "QEMU's own image lock"],
  does: ['reads', 'writes', 'forbids other writers'],
  evidence: ['/proc/5783/fdinfo/9 lock: OFDLCK ADVISORY READ -1 fe:00:7 100 100'],
  remedy: 'virsh shutdown web1, or wait for it',
};

const reader: Holder = {
  program: 'dd',
  pid: 9,
  user: 'joe',
  host: 'this host',
  container: 'docker container 3f2a91c0d4e5',
  refuses: [],
  through: ['reads it, without a lock'],
  evidence: [],
};

function use(more: Partial<ResourceUse>): ResourceUse {
  return { resource: disk, role: 'disk', state: 'in use', holders: [], notes: [], ...more };
}

const render = (one: ResourceUse, verbose = false): string =>
  renderUse(one, { style: noStyle, now, verbose });

test('holders one after another, each with what it refuses and what to do', () => {
  assert.equal(
    render(use({ holders: [web1, reader] })),
    `/a.qcow2: in use
  held by   guest "web1" (qemu-system-x86_64, pid 5783) on this host since 13:18:51
  through   virtlockd, and QEMU's own image lock
  does      reads, writes, and forbids other writers
  refuses   exclusive, shared, read
  try       virsh shutdown web1, or wait for it
  used by   dd (pid 9, user joe) on this host in docker container 3f2a91c0d4e5
  through   reads it, without a lock
  refuses   nothing: it is only shown
`,
  );
});

test('free is said plainly', () => {
  assert.equal(render(use({ state: 'free' })), '/a.qcow2: free\n');
});

test('what could not be seen, and how to see it', () => {
  const unseen = 'what 2 processes have open, which cannot be looked into (look as root)';
  assert.equal(
    render(use({ state: 'not fully seen', unseen, notes: ['its base is missing'] })),
    `/a.qcow2: nobody was found, but not everything could be seen
  not seen  ${unseen}
  note      its base is missing
`,
  );
});

test('verbose: the identity and the raw locks', () => {
  const text = render(use({ holders: [web1] }), true);
  assert.match(text, /^ {2}identity {2}file:host:254:0:7$/m);
  assert.match(text, /^ {2}evidence {2}\/proc\/5783\/fdinfo\/9 lock: OFDLCK /m);
  assert.doesNotMatch(render(use({ holders: [web1] })), /evidence|identity/);
});

test('what is no disk is called what it is', () => {
  const named = (resource: Partial<Resource>, role: ResourceUse['role']): string | undefined =>
    render(use({ resource: { ...disk, ...resource }, role, state: 'free' })).split(':')[0];
  assert.equal(named({ kind: 'domain', label: 'web1' }, 'domain'), 'guest "web1"');
  assert.equal(named({ kind: 'lease', label: 'key' }, 'lease'), 'lease key');
  assert.equal(named({}, 'base'), '/a.qcow2 (base)');
  assert.equal(named({}, 'ancestor'), '/a.qcow2 (what it stands on)');
});

test('names cannot move the cursor or break a line', () => {
  const label = '/a\n  held by   nobody\u001B[2J \uFFFD.img';
  const text = render(use({ resource: { ...disk, label }, holders: [{ ...reader, program: 'x\ny\u202E' }] }));
  assert.equal(text.split('\n').length, 5, text);
  // eslint-disable-next-line no-control-regex
  assert.doesNotMatch(text.replaceAll('\n', ''), /[\u0000-\u001F\u202E]/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { guestRemedy } from '../../src/holders/find-holders.js';
import { userName } from '../../src/system/user-name.js';

test('virsh is told which libvirt where it would ask another one', () => {
  const root = userName(0);
  assert.equal(guestRemedy('web1', 'system', root, 0), 'virsh shutdown web1, or wait for it');
  assert.equal(
    guestRemedy('web1', 'system', root, 1000),
    'virsh -c qemu:///system shutdown web1, or wait for it',
  );
  assert.equal(guestRemedy('web1', 'session', userName(1000), 1000), 'virsh shutdown web1, or wait for it');
  assert.equal(
    guestRemedy('web1', 'session', root, 0),
    'virsh -c qemu:///session shutdown web1, or wait for it',
  );
  assert.equal(
    guestRemedy('web1', 'session', 'someone-else', 0),
    'as user someone-else: virsh -c qemu:///session shutdown web1, or wait for it',
  );
});

test('a name is a word for the shell', () => {
  assert.equal(
    guestRemedy("it's $(x)", 'system', undefined, 0),
    "virsh shutdown 'it'\\''s $(x)', or wait for it",
  );
});

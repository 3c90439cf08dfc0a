import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isOfQemu, isQemuProgram, readGuest } from '../../src/holders/qemu-command-line.js';

const uuid = '7f9b1b0c-1d5e-4d0a-9b7a-0c2f4a1f6c11';

test('the ways to name a guest', () => {
  const name = (value: string): string | undefined => readGuest(['qemu', '-name', value]).name;
  assert.equal(name('web1'), 'web1');
  assert.equal(name('guest=web1,debug-threads=on'), 'web1');
  assert.equal(name('debug-threads=on,guest=web1'), 'web1');
  assert.equal(name('web1,debug-threads=on'), 'web1');
  assert.equal(name('web1,process=other'), 'web1');
  assert.equal(name('guest=a,,b,process=x'), 'a,b');
  assert.equal(name('two words'), 'two words');
  assert.equal(name('debug-threads=on'), undefined);
  assert.equal(name('guest='), undefined);
  assert.equal(name(''), undefined);
});

test('the uuid, and who started it', () => {
  assert.deepEqual(readGuest(['qemu', '-uuid', uuid.toUpperCase(), '--name', 'web1']), {
    name: 'web1',
    uuid,
    appliance: false,
  });
  assert.equal(readGuest(['qemu', '-uuid', 'no-uuid']).uuid, undefined);
  assert.equal(readGuest(['qemu', '-chardev', 'socket,id=charmonitor,fd=25,server=on']).libvirt, 'system');
  assert.equal(readGuest(['qemu', '-chardev', '{"id":"charmonitor","backend":{}}']).libvirt, 'system');
  assert.equal(readGuest(['qemu', '-chardev', 'socket,id=mycharmonitor2']).libvirt, undefined);
});

test('which libvirt it was: the host’s, or a user’s own', () => {
  const monitor = ['qemu', '-chardev', 'socket,id=charmonitor,fd=25,server=on'];
  const key = (path: string): string =>
    `{"qom-type":"secret","id":"masterKey0","format":"raw","file":"${path}"}`;
  const of = (path: string): string | undefined => readGuest([...monitor, '-object', key(path)]).libvirt;
  assert.equal(of('/var/lib/libvirt/qemu/domain-2-web1/master-key.aes'), 'system');
  assert.equal(of('/home/bob/.config/libvirt/qemu/lib/domain-1-web1/master-key.aes'), 'session');
  assert.equal(of('/run/user/1000/libvirt/qemu/run/domain-1-web1/master-key.aes'), 'session');
  // A disk of the host's libvirt that happens to be in a user's folder.
  assert.equal(readGuest([...monitor, '-drive', 'file=/home/bob/.config/libvirt/a.img']).libvirt, 'system');
});

test('libguestfs’s appliance by the port of its daemon', () => {
  const device = 'virtserialport,chardev=channel0,name=org.libguestfs.channel.0';
  assert.equal(readGuest(['qemu', '-device', device]).appliance, true);
});

test('the last of several counts, and a missing value is none', () => {
  assert.equal(readGuest(['qemu', '-name', 'a', '-name', 'b']).name, 'b');
  assert.deepEqual(readGuest(['qemu', '-name']), { appliance: false });
  assert.deepEqual(readGuest([]), { appliance: false });
});

test('emulators have guests, tools have none', () => {
  for (const program of ['qemu-system-x86_64', 'qemu-system-aarch64', 'qemu-kvm', 'kvm', 'qemu-system-x86'])
    assert.ok(isQemuProgram(program) && isOfQemu(program), program);
  for (const program of ['qemu-img', 'qemu-nbd', 'qemu-io', 'qemu-storage-daemon'])
    assert.ok(!isQemuProgram(program) && isOfQemu(program), program);
  for (const program of ['bash', 'myqemu', 'kvmtool', '']) assert.ok(!isOfQemu(program), program);
});

test('property: a name that QEMU was given is read back', () => {
  const names = fc.string({ minLength: 1 }).filter((name) => !name.includes('\0'));
  fc.assert(
    fc.property(names, (name) => {
      const value = `guest=${name.replaceAll(',', ',,')},debug-threads=on`;
      assert.equal(readGuest(['qemu', '-name', value]).name, name);
    }),
  );
});

test('property: no command line makes it throw', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string(), fc.constantFrom('-name', '-uuid'))),
      (argv) => void readGuest(argv),
    ),
  );
});

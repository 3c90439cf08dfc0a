/** Where a QEMU listens for QMP, as its command line says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { qmpSocket } from '../../src/holders/qemu-monitor.js';

const cases: readonly (readonly [args: string, path: string | undefined])[] = [
  ['-qmp unix:/run/q.sock,server=on,wait=off', '/run/q.sock'],
  ['-qmp unix:q.sock,server,nowait', 'q.sock'],
  ['--qmp-pretty unix:/a,,b,server=on', '/a,b'],
  ['-qmp unix:/run/q.sock', undefined],
  ['-qmp tcp:127.0.0.1:4444,server=on', undefined],
  ['-chardev socket,id=c,path=/m,server=on,wait=off -mon chardev=c,mode=control', '/m'],
  ['-mon c,mode=control -chardev socket,id=c,path=/m,server=on', '/m'],
  ['-chardev socket,id=c,path=/m,server=on -mon chardev=c,mode=readline', undefined],
  ['-chardev socket,id=c,path=/m,server=on -qmp chardev:c', '/m'],
  [
    '-chardev socket,id=charmonitor,fd=41,server=on,wait=off -mon chardev=charmonitor,id=monitor,mode=control',
    undefined,
  ],
  ['-chardev socket,id=serial,path=/s,server=on -m 20', undefined],
  ['-qmp', undefined],
  ['', undefined],
];

for (const [args, path] of cases) {
  test(args === '' ? 'nothing' : args, () => {
    assert.equal(qmpSocket(['qemu-system-x86_64', ...args.split(' ')]), path);
  });
}

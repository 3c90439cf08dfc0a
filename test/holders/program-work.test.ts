import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { programWork } from '../../src/holders/program-work.js';

/** What is said of a disk that is read, and of one that is written. */
function words(line: string): [string | undefined, string | undefined] {
  const argv = line.split(' ');
  const work = programWork(argv[0] ?? '', argv);
  return [work?.reading, work?.writing];
}

test('qemu-img by its subcommand', () => {
  assert.deepEqual(words('qemu-img convert -f raw -O qcow2 a b'), [
    'copies from it (qemu-img convert)',
    'copies into it (qemu-img convert)',
  ]);
  assert.deepEqual(
    words('qemu-img -T events=x commit a')[1],
    'commits changes from an overlay to its base (qemu-img commit)',
  );
  assert.deepEqual(words('qemu-img --trace events=x resize a 1G')[1], 'resizes it (qemu-img resize)');
  assert.deepEqual(words('qemu-img --help'), ['works on it (qemu-img)', 'works on it (qemu-img)']);
  assert.deepEqual(words('qemu-img frobnicate a')[0], 'works on it (qemu-img)');
  assert.equal(programWork('qemu-img', ['qemu-img', 'convert'])?.remedy, 'wait for qemu-img to end');
});

test('qemu-nbd by what it shows the disk as', () => {
  const device = 'shows it as /dev/nbd0 (qemu-nbd)';
  for (const line of ['-c /dev/nbd0 a', '-c/dev/nbd0 a', '--connect=/dev/nbd0 a', '--connect /dev/nbd0 a'])
    assert.deepEqual(words(`qemu-nbd ${line}`), [device, device], line);
  assert.equal(
    programWork('qemu-nbd', ['qemu-nbd', '-c', '/dev/nbd0'])?.remedy,
    'umount what is mounted from /dev/nbd0, then qemu-nbd --disconnect /dev/nbd0',
  );
  assert.equal(words('qemu-nbd -k /run/a.sock a')[1], 'exports it over NBD at /run/a.sock (qemu-nbd)');
  assert.equal(words('qemu-nbd -p 10810 a')[1], 'exports it over NBD at port 10810 (qemu-nbd)');
  assert.equal(words('qemu-nbd --persistent a')[1], 'exports it over NBD at port 10809 (qemu-nbd)');
});

test('qemu-storage-daemon by its exports, nbdkit by its plugin', () => {
  const daemon = 'qemu-storage-daemon --blockdev driver=file,node-name=f,filename=a';
  assert.equal(words(daemon)[0], 'keeps it open (qemu-storage-daemon)');
  assert.equal(
    words(`${daemon} --export type=nbd,id=e,node-name=f --export vhost-user-blk,id=g,node-name=f`)[1],
    'exports it over nbd, vhost-user-blk (qemu-storage-daemon)',
  );
  assert.equal(
    words(`${daemon} --export={"type":"fuse","id":"e"}`)[1],
    'exports it over fuse (qemu-storage-daemon)',
  );
  assert.equal(words('nbdkit -U - --filter=cow file a')[1], 'serves it over NBD (nbdkit file)');
  assert.equal(words('nbdkit -r --filter cow -p 10809 file a')[1], 'serves it over NBD (nbdkit file)');
  assert.equal(words('nbdkit')[1], 'serves it over NBD (nbdkit)');
});

test('qemu-io, which only looks at what it has not open for writing', () => {
  assert.deepEqual(words('qemu-io -r a'), [
    'looks at it by hand (qemu-io)',
    'reads and writes it by hand (qemu-io)',
  ]);
});

test('nothing is said of other programs', () => {
  assert.equal(programWork('dd', ['dd', 'convert']), undefined);
  assert.equal(programWork('constructor', []), undefined);
  assert.deepEqual(words('qemu-img constructor')[0], 'works on it (qemu-img)');
});

test('property: no command line makes it throw', () => {
  const programs = fc.constantFrom('qemu-img', 'qemu-nbd', 'qemu-storage-daemon', 'nbdkit', 'qemu-io');
  const argument = fc.oneof(fc.string(), fc.constantFrom('--export', '-c', '--connect=', '-', '--', '-U'));
  fc.assert(
    fc.property(programs, fc.array(argument), (program, argv) => {
      const work = programWork(program, argv);
      assert.ok(work !== undefined && work.reading !== '' && work.writing !== '');
    }),
  );
});

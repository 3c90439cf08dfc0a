import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { inodeOf } from '../../src/system/inode.js';
import { findMappings, parseMapLine } from '../../src/system/memory-maps.js';
import type { FileTarget } from '../../src/system/open-files.js';
import { startActor } from '../holders/actor.js';
import { needs } from '../needs.js';

function folder(t: { after(fn: () => void): void }): string {
  const made = mkdtempSync(join(tmpdir(), 'maps-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

function fileTarget(path: string | Buffer): FileTarget {
  writeFileSync(path, Buffer.alloc(8192), { flag: 'a' });
  return { kind: 'inode', inode: inodeOf(statSync(path, { bigint: true })) };
}

function sorted(pids: readonly number[]): number[] {
  return pids.toSorted((a, b) => a - b);
}

const PROT = { read: 1, readWrite: 3 };
const MAP = { shared: 1, private: 2 };

/** Code of an actor that maps a file and closes its descriptor. */
function mapping(path: string | Buffer, flags: string, protection: number, sharing: number): string {
  return `{
    const fd = fs.openSync(Buffer.from(${JSON.stringify(Buffer.from(path).toString('hex'))}, 'hex'), '${flags}');
    mmap(null, 4096, ${protection}, ${sharing}, fd, 0);
    fs.closeSync(fd);
  }`;
}

test('a map is found when its descriptor is closed, and writes only if what is stored reaches the file', async (t) => {
  const made = folder(t);
  const cases: [flags: string, protection: number, sharing: number, writes: boolean][] = [
    ['r+', PROT.readWrite, MAP.shared, true],
    // mprotect(2) would make it writable.
    ['r+', PROT.read, MAP.shared, true],
    ['r', PROT.read, MAP.shared, false],
    ['r+', PROT.readWrite, MAP.private, false],
    ['r', PROT.read, MAP.private, false],
  ];
  const targets = cases.map((_, index) => fileTarget(join(made, `${index}.img`)));
  const code = cases.map(([flags, protection, sharing], index) =>
    mapping(join(made, `${index}.img`), flags, protection, sharing),
  );
  await using actor = await startActor(code.join('\n'));
  const { mappings } = await findMappings(targets);
  assert.deepEqual(
    targets.map((target) =>
      mappings.filter((one) => one.target === target).map(({ pid, writes, path }) => [pid, writes, path]),
    ),
    cases.map(([, , , writes], index) => [[actor.pid, writes, join(made, `${index}.img`)]]),
  );
  assert.match(mappings.find(({ target }) => target === targets[0])?.text ?? '', /^\w+-\w+ rw-s .* \//);
});

test('of several maps of one process the one that writes counts', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = fileTarget(path);
  await using actor = await startActor(
    mapping(path, 'r', PROT.read, MAP.shared) +
      mapping(path, 'r+', PROT.readWrite, MAP.shared) +
      mapping(path, 'r', PROT.read, MAP.private),
  );
  const { mappings } = await findMappings([target], { pids: [actor.pid] });
  assert.deepEqual(
    mappings.map(({ writes }) => writes),
    [true],
  );
  assert.deepEqual((await findMappings([target], { pids: [process.pid] })).mappings, []);
});

test('names as they are: spaces, newlines, what only looks like one, no UTF-8, deleted and only called so', async (t) => {
  if (!needs(t, 'root')) return;
  const made = folder(t);
  const names: [name: Buffer, shown: string][] = [
    [Buffer.from('with space '), 'with space '],
    [Buffer.from('new\nline'), 'new\nline'],
    [Buffer.from('back\\012slash'), 'back\\012slash'],
    [Buffer.from([0x61, 0xff, 0xfe]), 'a\\xff\\xfe'],
    [Buffer.from('called (deleted)'), 'called (deleted)'],
    [Buffer.from('gone'), 'gone (deleted)'],
  ];
  const paths = names.map(([name]) => Buffer.concat([Buffer.from(`${made}/`), name]));
  const targets = paths.map(fileTarget);
  await using actor = await startActor(
    paths.map((path) => mapping(path, 'r+', PROT.readWrite, MAP.shared)).join('\n'),
  );
  unlinkSync(join(made, 'gone'));
  const { mappings } = await findMappings(targets, { pids: [actor.pid] });
  const shown = new Map(mappings.map(({ target, path }) => [target, path]));
  assert.deepEqual(
    targets.map((target) => shown.get(target)),
    names.map(([, name]) => join(made, name)),
  );
});

/** A recorded /proc with one process and its maps. */
function recorded(root: string, pid: number, maps: string | Buffer): void {
  mkdirSync(join(root, String(pid)), { recursive: true });
  writeFileSync(join(root, String(pid), 'maps'), maps);
}

const line = (device: string, ino: string, name: string): string =>
  `7f8fedcc0000-7f8fedcc1000 rw-s 00000000 ${device} ${ino}                    ${name}`;

test('recorded: the device decides, and where it is made up what the path leads to', async (t) => {
  const root = folder(t);
  recorded(root, 1, line('fe:00', '50', '/a'));
  recorded(root, 2, line('fe:01', '50', '/a'));
  recorded(root, 3, line('00:23', '50', '/a'));
  recorded(root, 4, line('fe:00', '500', '/a'));
  recorded(root, 5, line('fe:00', '5', '/50 50 '));
  recorded(root, 6, `${line('fe:00', '49', '/b')}\n${line('fe:00', '50', '/a')}\n`);
  const pids = async (dev: string): Promise<number[]> => {
    const target = { kind: 'inode', inode: { dev, ino: '50' } } as const;
    return sorted((await findMappings([target], { root })).mappings.map(({ pid }) => pid));
  };
  assert.deepEqual(await pids('254:0'), [1, 6]);
  assert.deepEqual(await pids('0:35'), [3]);
  assert.deepEqual(await pids('0:99'), []);
  // A file whose device is made up, as btrfs has them, and the table has another one for it.
  const file = inodeOf(statSync('/proc/version', { bigint: true }));
  for (const pid of [7, 8, 9]) mkdirSync(join(root, String(pid)));
  symlinkSync('/', join(root, '7/root'));
  symlinkSync('/', join(root, '8/root'));
  recorded(root, 7, line('00:fffff', file.ino, '/proc/version'));
  recorded(root, 8, line('00:fffff', file.ino, '/memfd:x (deleted)'));
  recorded(root, 9, line('00:fffff', file.ino, '/proc/version'));
  const { mappings } = await findMappings([{ kind: 'inode', inode: file }], { root });
  assert.deepEqual(
    mappings.map(({ pid }) => pid),
    [7],
  );
});

test('recorded: malformed lines say nothing, and hide no good ones', async (t) => {
  const root = folder(t);
  const target = { kind: 'inode', inode: { dev: '254:0', ino: '50' } } as const;
  const bad = [
    '',
    ' 50 ',
    'nonsense fe:00 50 /a',
    '7f8fedcc0000 rw-s 00000000 fe:00 50 /a',
    '7f8fedcc0000-7f8fedcc1000 rw-s 00000000 fe:00:1 50 /a',
    '7f8fedcc0000-7f8fedcc1000 zz-s 00000000 fe:00 50 /a',
    '7f8fedcc0000-7f8fedcc1000 rw-s 00000000 fe:00 50',
    '\0\xff 50 \xff',
  ].join('\n');
  recorded(root, 1, bad);
  recorded(root, 2, `${bad}\n${line('fe:00', '50', '/a')}\n${bad}`);
  const { mappings } = await findMappings([target], { root });
  assert.deepEqual(
    mappings.map(({ pid, path, writes }) => [pid, path, writes]),
    [[2, '/a', true]],
  );
});

test('a table longer than what is kept for one, and a process without one', async (t) => {
  const root = folder(t);
  const target = { kind: 'inode', inode: { dev: '254:0', ino: '50' } } as const;
  const many = Array.from({ length: 20_000 }, (_, index) => line('fe:00', String(1000 + index), '/lib/x.so'));
  recorded(root, 1, [...many, line('fe:00', '50', '/disk.img')].join('\n'));
  mkdirSync(join(root, '2'));
  mkdirSync(join(root, '3/maps'), { recursive: true });
  recorded(root, 4, line('fe:00', '50', '/disk.img'));
  const { mappings, denied } = await findMappings([target], { root });
  assert.deepEqual(sorted(mappings.map(({ pid }) => pid)), [1, 4]);
  assert.deepEqual(denied, []);
});

test('recorded: a block device by its node in the file system of the process', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const root = folder(t);
  const ino = statSync('/dev/loop0').ino;
  for (const pid of [1, 2, 3]) mkdirSync(join(root, String(pid)));
  symlinkSync('/', join(root, '1/root'));
  symlinkSync('/', join(root, '2/root'));
  symlinkSync(root, join(root, '3/root'));
  recorded(root, 1, line('00:06', String(ino), '/dev/loop0'));
  recorded(root, 2, line('00:06', `${ino}0`, '/dev/loop0'));
  recorded(root, 3, line('00:06', String(ino), '/dev/loop0'));
  const { mappings } = await findMappings([{ kind: 'device', device: '7:0' } as const], { root });
  assert.deepEqual(
    mappings.map(({ pid }) => pid),
    [1],
  );
});

test('a mapped block device', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  await using actor = await startActor(mapping('/dev/loop0', 'r', PROT.read, MAP.shared));
  const targets = [
    { kind: 'device', device: '7:0' },
    { kind: 'device', device: '7:1' },
  ] as const;
  const { mappings } = await findMappings(targets);
  assert.deepEqual(
    mappings.map(({ target, pid, path, writes }) => [target, pid, path, writes]),
    [[targets[0], actor.pid, '/dev/loop0', false]],
  );
});

test('property: no line makes the parser throw, and it is read as it was written', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      parseMapLine(Buffer.from(bytes));
    }),
  );
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.nat({ max: 4095 }),
      fc.nat({ max: 1048575 }),
      fc.constantFrom('r--s', 'rw-s', 'rw-p', '---p'),
      fc.string({ unit: 'binary' }).filter((name) => !name.includes('\n')),
      (ino, major, minor, flags, name) => {
        const hex = (value: number): string => value.toString(16).padStart(2, '0');
        const text = `00400000-7fff0000 ${flags} 00000000 ${hex(major)}:${hex(minor)} ${ino}       /${name}`;
        const read = parseMapLine(Buffer.from(text));
        assert.deepEqual(
          [read?.range, read?.dev, read?.ino, read?.writable, read?.shared],
          ['400000-7fff0000', `${major}:${minor}`, String(ino), flags[1] === 'w', flags[3] === 's'],
        );
        assert.equal(read?.path, Buffer.from(`/${name}`).toString('utf8'));
      },
    ),
  );
});

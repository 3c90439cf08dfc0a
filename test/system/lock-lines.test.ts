import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { covers, parseLockLine, readLocksOf } from '../../src/system/lock-lines.js';
import { parseFdinfo } from '../../src/system/open-files.js';

test('the line that QEMU 7.2 was seen with', () => {
  assert.deepEqual(parseLockLine('\t1: OFDLCK ADVISORY  READ -1 fe:00:1450084 100 101'), {
    kind: 'OFD',
    type: 'read',
    inode: { dev: '254:0', ino: '1450084' },
    start: 100,
    end: 101,
    text: 'OFDLCK ADVISORY READ -1 fe:00:1450084 100 101',
  });
});

test('POSIX, flock and lease lines; minors above 255; locks to the end', () => {
  const posix = parseLockLine('12: POSIX  ADVISORY  WRITE 4711 103:1f4:18446744073709551615 0 EOF');
  assert.equal(posix?.pid, 4711);
  assert.deepEqual(posix?.inode, { dev: '259:500', ino: '18446744073709551615' });
  assert.equal(posix?.end, undefined);
  assert.equal(parseLockLine('3: FLOCK  ADVISORY  WRITE 5 00:21:77 0 EOF')?.kind, 'FLOCK');
  assert.equal(parseLockLine('4: LEASE  ACTIVE    READ  6 00:21:77 0 EOF')?.kind, 'LEASE');
  assert.equal(parseLockLine('4: LEASE  BREAKING  READ  6 00:21:77 0 EOF')?.kind, 'LEASE');
});

test('who waits holds nothing, and what is not of the form is no lock', () => {
  for (const line of [
    '',
    '1: -> POSIX  ADVISORY  WRITE 4711 fe:00:5 0 EOF',
    '1: POSIX  *NOINODE* WRITE 4711 <none>:0 0 EOF',
    '1: POSIX  ADVISORY  UNLCK 4711 fe:00:5 0 EOF',
    '1: POSIX  ADVISORY  WRITE 4711 fe:00 0 EOF',
    '1: POSIX  ADVISORY  WRITE 4711 fe:00:5 0',
    '1: POSIX  ADVISORY  WRITE 4711 fe:00:5 0 EOF more',
    '1: NEWLCK ADVISORY  WRITE 4711 fe:00:5 0 EOF',
  ])
    assert.equal(parseLockLine(line), undefined, line);
});

test('covering: the last byte counts, and a flock covers none', () => {
  const lock = parseLockLine('1: OFDLCK ADVISORY  READ -1 fe:00:5 100 101');
  assert.ok(lock !== undefined);
  assert.deepEqual(
    [
      [0, 99],
      [0, 100],
      [101, 101],
      [102, 200],
    ].map(([first, last]) => covers(lock, first ?? 0, last ?? 0)),
    [false, true, true, false],
  );
  const toTheEnd = parseLockLine('1: OFDLCK ADVISORY  READ -1 fe:00:5 100 EOF');
  assert.ok(toTheEnd !== undefined && covers(toTheEnd, 5000, 5000));
  const flock = parseLockLine('1: FLOCK  ADVISORY  WRITE 5 fe:00:5 0 EOF');
  assert.ok(flock !== undefined && !covers(flock, 0, 0));
});

test('the table, by inode: the device decides unless it is a made-up one', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(root, { recursive: true }));
  writeFileSync(
    join(root, 'locks'),
    [
      '1: POSIX  ADVISORY  WRITE 1 fe:00:50 0 0',
      '1: -> POSIX  ADVISORY  WRITE 9 fe:00:50 0 0',
      '2: POSIX  ADVISORY  WRITE 2 fe:01:50 0 0',
      '3: POSIX  ADVISORY  WRITE 3 00:23:50 0 0',
      '4: POSIX  ADVISORY  WRITE 4 fe:00:500 0 0',
      '5: POSIX  ADVISORY  WRITE 5 fe:00:5 50 0',
      'nonsense',
    ].join('\n'),
  );
  const pids = (dev: string): unknown => readLocksOf({ dev, ino: '50' }, root)?.map(({ pid }) => pid);
  assert.deepEqual(pids('254:0'), [1]);
  assert.deepEqual(pids('0:99'), [3]);
  assert.equal(readLocksOf({ dev: '254:0', ino: '50' }, join(root, 'none')), undefined);
});

test('fdinfo: access, inode and locks', () => {
  const info = parseFdinfo(
    'pos:\t0\nflags:\t0100002\nmnt_id:\t24\nino:\t1450084\n' +
      'lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:1450084 100 101\n' +
      'lock:\t2: FLOCK  ADVISORY  WRITE 5 fe:00:1450084 0 EOF\nlock:\tnonsense\n',
  );
  assert.equal(info?.access, 'read-write');
  assert.equal(info?.ino, '1450084');
  assert.deepEqual(
    info?.locks.map(({ kind }) => kind),
    ['OFD', 'FLOCK'],
  );
});

test('fdinfo: how it was opened', () => {
  const access = (flags: string): unknown => parseFdinfo(`pos:\t0\nflags:\t${flags}\n`)?.access;
  assert.equal(access('0100000'), 'read');
  assert.equal(access('02100001'), 'write');
  assert.equal(access('0100002'), 'read-write');
  assert.equal(access('03'), 'read-write');
  assert.equal(access('012000000'), 'path');
});

test('fdinfo that is malformed tells nothing', () => {
  for (const text of ['', 'pos:\t0\n', 'flags:\t\n', 'flags:\t9\n', 'flags:\tx\nino:\t5\n'])
    assert.equal(parseFdinfo(text), undefined);
});

test('property: no text makes the parsers throw, and what they find can be written again', () => {
  const part = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '\n',
      '\t',
      'lock:',
      'flags:',
      '1: ',
      'OFDLCK',
      ' ADVISORY ',
      'READ',
      ' -1 ',
      'fe:00:5 ',
      '0 ',
      'EOF',
    ),
    fc.nat().map(String),
  );
  fc.assert(
    fc.property(
      fc.array(part).map((parts) => parts.join('')),
      (text) => {
        parseFdinfo(text);
        const lock = parseLockLine(text);
        if (lock !== undefined) assert.deepEqual(parseLockLine(`1: ${lock.text}`), lock);
      },
    ),
  );
});

test('property: a lock line is read as it was written', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('POSIX ', 'OFDLCK', 'FLOCK '),
      fc.boolean(),
      fc.nat(),
      fc.nat({ max: 4095 }),
      fc.nat({ max: 1048575 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.nat(),
      fc.option(fc.nat()),
      (kind, write, pid, major, minor, ino, start, length) => {
        const end = length === null ? 'EOF' : String(start + length);
        const device = `${major.toString(16).padStart(2, '0')}:${minor.toString(16).padStart(2, '0')}`;
        const lock = parseLockLine(
          `7: ${kind} ADVISORY  ${write ? 'WRITE' : 'READ'} ${kind === 'OFDLCK' ? -1 : pid} ${device}:${ino} ${start} ${end}`,
        );
        assert.equal(lock?.type, write ? 'write' : 'read');
        assert.deepEqual(lock?.inode, { dev: `${major}:${minor}`, ino: ino.toString() });
        assert.equal(lock?.pid, kind === 'OFDLCK' || pid === 0 ? undefined : pid);
        assert.deepEqual([lock?.start, lock?.end], [start, length === null ? undefined : start + length]);
      },
    ),
  );
});

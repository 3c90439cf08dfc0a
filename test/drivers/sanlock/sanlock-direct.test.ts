/** What `sanlock direct` prints (3.8.5), as it was recorded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDump, parseHead } from '../../../src/drivers/sanlock/sanlock-direct.js';

const leader = (result: string, magic: string, more: Record<string, string> = {}): string => {
  const fields = {
    magic,
    version: '0x60004',
    flags: '0x10',
    sector_size: '512',
    num_hosts: '2000',
    max_hosts: '2000',
    owner_id: '1',
    owner_generation: '2',
    lver: '3',
    space_name: 'vms',
    resource_name: 'web1',
    timestamp: '0',
    ...more,
  };
  return [`read_leader done ${result}`, ...Object.entries(fields).map((field) => field.join(' '))].join('\n');
};
const MiB = 1024 * 1024;

test('a lease, and a lockspace, whatever was asked for', () => {
  const lease = { lockspace: 'vms', name: 'web1', bytes: MiB, sectorBytes: 512, version: '3' };
  for (const result of ['0', '-226', '-227']) {
    assert.deepEqual(parseHead(leader(result, '0x6152010')), { kind: 'lease', ...lease });
  }
  assert.deepEqual(parseHead(leader('-223', '0x12212010')), { kind: 'lockspace', ...lease });
});

test('the size of an area', () => {
  const bytes = (flags: string, sector: string): number | undefined =>
    parseHead(leader('0', '0x6152010', { flags, sector_size: sector }))?.bytes;
  assert.equal(bytes('0x10', '4096'), MiB);
  assert.equal(bytes('0x80', '4096'), 8 * MiB);
  assert.equal(bytes('0x0', '512'), MiB);
  assert.equal(bytes('0x0', '4096'), 8 * MiB);
});

test('no area: zeros, and memory that nobody has written', () => {
  assert.equal(parseHead(leader('-223', '0x0')), undefined);
  assert.equal(parseHead(leader('-90', '0x6152010')), undefined);
  assert.equal(parseHead(leader('-13', '0x12212010')), undefined);
  assert.equal(parseHead('resource arg parse error -1\n'), undefined);
});

const dump = `  offset                            lockspace                                         resource  timestamp  own  gen lver
00000512                                  vms        de0ebf67-79a9-46e6-acf5-55aa21939e69.host 0000037283 0002 0003
01048576                                  vms                                             web1 0000037327 0001 0002 4
02097152                                  vms                                              n 1 0000000000 0001 0002 2
                                                                                                          0001 0002 SH
                                                                                                          0012 0001 SH
03145728 ${'l'.repeat(48)} ${'n'.repeat(48)} 0000000000 0000 0000 0
`;

test('hosts of a lockspace, and owners of leases', () => {
  assert.deepEqual(parseDump(dump), [
    {
      offset: 512,
      lockspace: 'vms',
      name: 'de0ebf67-79a9-46e6-acf5-55aa21939e69.host',
      timestamp: 37283,
      hostId: 2,
      generation: '3',
      shared: [],
    },
    {
      offset: MiB,
      lockspace: 'vms',
      name: 'web1',
      timestamp: 37327,
      hostId: 1,
      generation: '2',
      version: '4',
      shared: [],
    },
    {
      offset: 2 * MiB,
      lockspace: 'vms',
      name: 'n 1',
      timestamp: 0,
      hostId: 1,
      generation: '2',
      version: '2',
      shared: [
        { hostId: 1, generation: '2' },
        { hostId: 12, generation: '1' },
      ],
    },
    {
      offset: 3 * MiB,
      lockspace: 'l'.repeat(48),
      name: 'n'.repeat(48),
      timestamp: 0,
      hostId: 0,
      generation: '0',
      version: '0',
      shared: [],
    },
  ]);
});

test('nothing that has an owner', () => {
  assert.deepEqual(parseDump('Cannot find sector_size and align_size, set with -A and -Z.\n'), []);
  assert.deepEqual(parseDump(''), []);
});

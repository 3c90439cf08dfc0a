/** What sanlock's command prints, as it was recorded of 3.8.5. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { parseHostStatus, parseStatus } from '../../../src/drivers/sanlock/daemon-status.js';

test('the status tells who holds which lease, whatever the path is', () => {
  const text = `daemon alpha
p -1 helper
p -1 listener
p 32040 guest_one
p 32041
p -1 status
s LS2:1:/srv/leases\\:2:0
r LS2:R21:/srv/leases\\:\\ p 7\\:2:23068672:SH p 32040
r LS2:R20:/srv/leases\\:2:22020096:2 p 32041
`;
  assert.deepEqual(parseStatus(text), {
    processes: [
      { pid: 32040, name: 'guest_one' },
      { pid: 32041, name: '' },
    ],
    leases: [
      { lockspace: 'LS2', name: 'R21', shared: true, pid: 32040 },
      { lockspace: 'LS2', name: 'R20', shared: false, pid: 32041 },
    ],
  });
  assert.deepEqual(parseStatus(''), { processes: [], leases: [] });
});

test('the status of hosts has their names, and when each was last seen to renew', () => {
  const text = `1 timestamp 36776
    last_check=36897
    last_live=36777
    last_req=0
    owner_id=1
    owner_generation=2
    timestamp=36776
    io_timeout=1
    owner_name=hosta
2 timestamp 0
    last_check=36897
    last_live=0
    last_req=0
    owner_id=2
    owner_generation=1
    timestamp=0
    io_timeout=10
    owner_name=7d0d2b0c-6f3c-4f6c-9d0e-3a4f6b1f8f5e.host b
`;
  assert.deepEqual(parseHostStatus(text), [
    {
      hostId: 1,
      name: 'hosta',
      generation: 2n,
      timestamp: 36776n,
      ioTimeoutS: 1,
      lastLiveS: 36777,
      lastCheckS: 36897,
    },
    {
      hostId: 2,
      name: '7d0d2b0c-6f3c-4f6c-9d0e-3a4f6b1f8f5e.host b',
      generation: 1n,
      timestamp: 0n,
      ioTimeoutS: 10,
      lastLiveS: 0,
      lastCheckS: 36897,
    },
  ]);
  assert.deepEqual(parseHostStatus(''), []);
});

test('behind a name of 48 bytes there can be a byte that is not part of it', () => {
  const name = 'n'.repeat(48);
  const { leases } = parseStatus(
    `r ${name}:${name}\x01:/p:1048576:3 p 7\nr ${name}\x02:${name}:/p:0:SH p 8\n`,
  );
  assert.deepEqual(
    leases.map(({ lockspace, name: lease, pid }) => [lockspace === name, lease === name, pid]),
    [
      [true, true, 7],
      [true, true, 8],
    ],
  );
});

/** Locks in the descriptor store of a real systemd, by the hundred. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { commandFolder } from '../beds/command.js';
import { LockClient } from '../beds/lock-client.js';
import { startThief } from '../beds/lock-thief.js';
import { lockOn } from '../beds/observed-lock.js';
import { SystemdHost } from '../beds/systemd-host.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const locks = 400;
const folder = commandFolder();
const disks = Array.from({ length: locks }, (_, index) => join(folder, `disk${index}.img`));
const skip = lacks('root', 'unshare', 'systemd');
let host: SystemdHost;
after(() => host?.stop());

before(async () => {
  if (skip !== false) return;
  for (const disk of disks) writeFileSync(disk, 'data');
  host = await SystemdHost.start(folder);
  host.installUnits();
  await host.run('systemctl', 'daemon-reload');
  await host.run('systemctl', 'enable', '--now', 'holdfastd.service');
});

const shown = (property: string): Promise<string> =>
  host.run('systemctl', 'show', '-p', property, '--value', 'holdfastd.service');

async function untilStored(count: number): Promise<void> {
  await until(
    async () => Number(await shown('NFileDescriptorStore')) === count,
    `${count} descriptors in the store`,
  );
}

/** A process of the host that has locks, as a guest has. */
async function startOwner(): Promise<{ readonly client: LockClient; readonly end: () => Promise<void> }> {
  const owner = host.start('sh', '-c', 'echo $$; exec sleep 600');
  await until(() => owner.stdout.includes('\n'), 'the pid');
  const pid = Number(owner.stdout);
  const client = await LockClient.connect(join(host.root, 'run/libvirt/virtlockd-sock'));
  const registered = { uuid: Buffer.alloc(16, pid), name: `guest${pid}`, id: 1, pid };
  assert.equal(await client.call({ call: 'register', owner: registered, flags: 0 }), undefined);
  return {
    client,
    end: async () => {
      await host.run('kill', '-KILL', String(pid));
      client.close();
      await owner.exited;
    },
  };
}

async function acquire(client: LockClient, wanted: readonly string[]): Promise<void> {
  for (const name of wanted) {
    assert.equal(await client.call({ call: 'acquire', path: '', name, flags: 0 }), undefined);
  }
}

const held = (): number => disks.filter((disk) => lockOn(disk) === 'write').length;

test('both processes are killed: whoever tries all the time gets none of the locks', { skip }, async () => {
  const owner = await startOwner();
  await acquire(owner.client, disks);
  await untilStored(locks);
  const thief = await startThief(disks);
  for (let round = 0; round < 3; round++) {
    const keeper = await shown('MainPID');
    await host.run('systemctl', 'kill', '--signal=KILL', '--kill-whom=all', 'holdfastd.service');
    await until(
      async () =>
        (await shown('StatusText')) === `${locks} locks of libvirt, 0 holds` &&
        (await shown('MainPID')) !== keeper,
      'the next daemon',
    );
    assert.equal(held(), locks);
  }
  const { tries, got } = await thief.stop();
  assert.deepEqual(got, []);
  assert.ok(tries > locks, String(tries));

  // They are the daemon's again: the end of their owner frees them, and the store has nothing left of them.
  await owner.end();
  await until(() => held() === 0, 'the end of the locks');
  await untilStored(0);
});

test('what is given back leaves the store; the next lock comes into it', { skip }, async () => {
  const { client, end } = await startOwner();
  const few = disks.slice(0, 4);
  await acquire(client, few);
  await untilStored(4);
  for (const name of few.slice(0, 3)) {
    assert.equal(await client.call({ call: 'release', path: '', name, flags: 0 }), undefined);
    assert.equal(lockOn(name), 'none');
  }
  await untilStored(1);
  await acquire(client, few.slice(0, 1));
  await untilStored(2);
  await end();
  await untilStored(0);
});

test('what is stopped lets go of what systemd has', { skip }, async () => {
  const { client, end } = await startOwner();
  await acquire(client, disks.slice(0, 1));
  await untilStored(1);
  await host.run('systemctl', 'stop', 'holdfastd.service', 'holdfastd.socket', 'holdfastd-api.socket');
  await until(() => held() === 0, 'the end of the lock');
  await end();
});

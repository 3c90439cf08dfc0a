/**
 * Everything at once: random operations of libvirt on twenty guests, while the lock daemon is killed every few seconds, and an
 * outside process tries all the time to take each disk that is held. It must never get one. An operation may fail,
 * but it comes back, and it leaves nothing that spoils a later one.
 *
 * HOLDFAST_CHAOS_SECONDS: how long (90).
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { commandFolder } from '../beds/command.js';
import { DiskTaker } from '../beds/disk-taker.js';
import { diskXml, guestXml, xmlFile } from '../beds/libvirt-guest.js';
import { LibvirtSystem } from '../beds/libvirt-system.js';
import { LockView } from '../beds/lock-view.js';
import { lockOn } from '../beds/observed-lock.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const seconds = Number(process.env['HOLDFAST_CHAOS_SECONDS'] ?? 90);
const guestCount = 20;
/** At once: libvirt does one thing at a time with a guest, and there are few processors. */
const operators = 3;
/** One operation in so many may meet a fork of libvirtd that is stuck, which is its own fault: more would be a sign of another. */
const stuckForkShare = 300;
const folder = commandFolder();
const needed = lacks('root', 'unshare', 'libvirtd', 'virsh', 'qemu', 'perl');

interface ChaosGuest {
  readonly name: string;
  readonly disk: string;
  /** Attached and detached. */
  readonly second: string;
  readonly secondXml: string;
  busy: boolean;
}

/** What may be done with a guest in this state; each equally often. */
const operations = {
  'shut off': ['start', 'start', 'start paused'],
  running: ['suspend', 'suspend and resume', 'attach or detach', 'reset', 'destroy', 'managedsave', 'crash'],
  paused: ['resume', 'resume', 'resume', 'destroy', 'reset'],
} as const;

function oneOf<T>(all: readonly T[]): T {
  const found = all[Math.floor(Math.random() * all.length)];
  assert.ok(found !== undefined);
  return found;
}

describe('chaos', { skip: needed }, () => {
  let host: LibvirtSystem;
  const guests: ChaosGuest[] = [];

  before(async () => {
    host = await LibvirtSystem.start(folder, { name: 'host', locks: 'holdfastd' });
    for (let index = 0; index < guestCount; index++) {
      const name = `g${index}`;
      const disk = rawDisk(join(folder, `${name}.img`));
      const second = rawDisk(join(folder, `${name}-second.img`));
      const secondXml = xmlFile(folder, diskXml({ path: second }, 'sdb'));
      await host.virsh('define', xmlFile(folder, guestXml({ name, disks: [{ path: disk }] })));
      guests.push({ name, disk, second, secondXml, busy: false });
    }
  });
  after(() => host?.stop());

  const state = async (name: string): Promise<keyof typeof operations> => {
    const text = (await host.virsh('domstate', name)).trim();
    assert.ok(text === 'running' || text === 'paused' || text === 'shut off', `${name} is ${text}`);
    return text;
  };

  /** Whether virsh reported success. */
  async function operate({ name, second, secondXml }: ChaosGuest, operation: string): Promise<boolean> {
    const call = async (...args: string[]): Promise<boolean> => (await host.tryVirsh(...args)).ok;
    switch (operation) {
      case 'start paused':
        return call('start', name, '--paused');
      case 'attach or detach': {
        const attached = (await host.virsh('domblklist', name)).includes(second);
        return call(attached ? 'detach-device' : 'attach-device', name, secondXml, '--live');
      }
      case 'suspend and resume':
        return (await call('suspend', name)) && (await call('resume', name));
      case 'crash':
        process.kill(host.qemuPid(name), 'SIGKILL');
        await until(async () => (await state(name)) === 'shut off', `libvirt to see the end of ${name}`);
        return true;
      default:
        return call(operation, name);
    }
  }

  /** Lets the daemon run for a millisecond now and then, so that it is likely to end in the middle of something. */
  async function stutter(daemon: number): Promise<void> {
    const times = Math.floor(Math.random() * 30);
    for (let time = 0; time < times; time++) {
      process.kill(daemon, 'SIGSTOP');
      await setTimeout(10);
      process.kill(daemon, 'SIGCONT');
      await setTimeout(1);
    }
  }

  /** Disks that a guest uses at this moment, by what libvirt says of it. */
  async function usedDisks({ name, disk, second }: ChaosGuest): Promise<string[]> {
    if ((await state(name)) !== 'running') return [];
    return [disk, ...((await host.virsh('domblklist', name)).includes(second) ? [second] : [])];
  }

  test(`${seconds} seconds`, { timeout: (seconds + 600) * 1_000 }, async (t) => {
    const disks = guests.flatMap(({ disk, second }) => [disk, second]);
    const taker = DiskTaker.start(folder, disks);
    t.after(() => taker.stop());
    const endMs = performance.now() + seconds * 1_000;
    const isOver = (): boolean => performance.now() > endMs || taker.violations.length > 0;
    const counts = { operations: 0, failed: 0, kills: 0, replaced: 0 };

    const operator = async (): Promise<void> => {
      while (!isOver()) {
        const guest = oneOf(guests.filter(({ busy }) => !busy));
        guest.busy = true;
        for (const disk of [guest.disk, guest.second]) taker.mark(disk, false);
        const before = await state(guest.name);
        const operation = oneOf(operations[before]);
        const ok = await operate(guest, operation);
        counts.operations++;
        if (!ok) counts.failed++;
        // Whatever became of it: a guest that runs has the lock of each of its disks.
        for (const disk of await usedDisks(guest)) {
          assert.equal(lockOn(disk), 'write', `${disk} after ${operation} of a guest that was ${before}`);
          taker.mark(disk, true);
        }
        guest.busy = false;
      }
    };
    const killer = async (): Promise<void> => {
      while (!isOver()) {
        await setTimeout(500 + Math.random() * 3_500);
        const worker = host.lockWorkerPid;
        if (worker === undefined) continue;
        const replace = Math.random() < 0.25;
        if (!replace) await stutter(worker);
        process.kill(replace ? host.lockPid : worker, replace ? 'SIGHUP' : 'SIGKILL');
        await host.untilNextWorker(worker);
        counts[replace ? 'replaced' : 'kills']++;
      }
    };
    await Promise.all([killer(), ...Array.from({ length: operators }, operator)]);
    t.diagnostic(JSON.stringify({ ...counts, stuckForks: host.stuckForks }));
    assert.ok(host.stuckForks <= 1 + counts.operations / stuckForkShare, 'a fork of libvirtd stuck');
    assert.deepEqual(taker.violations, []);
    await taker.stop();

    // Nothing was spoiled: everything can be ended, and started, and the locks are exactly those.
    const view = new LockView(host, new Map(disks.map((disk) => [disk, disk])));
    const endAll = async (): Promise<void> => {
      for (const { name } of guests) {
        if ((await state(name)) !== 'shut off') await host.virsh('destroy', name);
        await host.tryVirsh('managedsave-remove', name);
      }
    };
    await endAll();
    await view.become({});
    for (const { name } of guests) await host.virsh('start', name);
    await view.become(Object.fromEntries(guests.map(({ disk }) => [disk, 'write' as const])));
    await endAll();
    await view.become({});
  });
});

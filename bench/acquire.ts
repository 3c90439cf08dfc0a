/** Acquire and release of one disk inside a process, against a bare open, fcntl and close through the same native calls. */
import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fcntl from '../src/drivers/fcntl/fcntl.js';
import { findUnlockedUse } from '../src/holders/find-holders.js';
import type * as Library from '../src/index.js';
import { describeGuest } from '../src/manager/guest-input.js';
import { leaveRecord, newHoldId, writeRecord } from '../src/manager/hold-record.js';
import { ownerHere } from '../src/manager/owner.js';
import { makePlan, stillThere } from '../src/plan/make-plan.js';
import { tryLock } from '../src/system/ofd-lock.js';
import { inTurn, type Figure } from './measure.js';

const rounds = 30;
const calls = 200;

export async function acquireFigures(folder: string, library: typeof Library): Promise<Figure[]> {
  const disk = join(folder, 'acquire.img');
  writeFileSync(disk, '');
  const bare = (): void => {
    const fd = openSync(disk, constants.O_RDWR);
    tryLock(fd, 'write', 0);
    closeSync(fd);
  };
  await using manager = library.openManager({ configuration: false });
  const whole = async (): Promise<void> => {
    const hold = await manager.lock({ disks: [disk] });
    await hold.release();
  };
  const against = 'open, fcntl, close';
  const figure = async (what: string, goal: string, work: () => unknown): Promise<Figure> => {
    const [a, b] = await inTurn(work, bare, rounds, calls);
    return { what, against, median: a, medianAgainst: b, unit: 'us', goal };
  };

  const figures = [await figure('lock and release one disk', 'at most 150 us more', whole)];
  // Where it goes: the steps by themselves, from the sources.
  const guest = await describeGuest({ disks: [disk] });
  const plan = await makePlan(guest);
  const resources = plan.requests.map(({ resource }) => resource);
  const driver = await fcntl.start({});
  const owner = ownerHere(guest.owner);
  const { signal } = new AbortController();
  const record = {
    version: 1 as const,
    owner,
    since: new Date().toISOString(),
    drivers: ['fcntl'],
    requests: plan.requests,
    tokens: {},
  };
  const steps: Record<string, () => unknown> = {
    '- describe what was asked for': () => describeGuest({ disks: [disk] }),
    '- plan: look at the path, identity': () => makePlan(guest),
    '- look for uses without a lock': () => findUnlockedUse(resources),
    '- lock and unlock (the driver)': async () =>
      driver.release(await driver.acquire(owner, plan.requests, { signal })),
    '- is it still there': async () => {
      for (const request of plan.requests) await stillThere(request);
    },
    '- write and remove the record': () =>
      leaveRecord(writeRecord(folder, { ...record, id: newHoldId() }), false),
  };
  for (const [what, work] of Object.entries(steps)) figures.push(await figure(what, '', work));
  return figures;
}

/** The conformance suite against real sanlock daemons; the second contender is on this host, and on another one. */
import { join } from 'node:path';
import test, { after } from 'node:test';
import {
  driverConformance,
  runWithNodeTest,
  type ConformanceOptions,
  type NodeTest,
} from '../../../src/driver/conformance.js';
import sanlockDriver from '../../../src/drivers/sanlock/sanlock.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { startRemoteDriver } from '../../beds/remote-driver.js';
import { makeLease, makeLockspace, startSanlock } from '../../beds/sanlock.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const lacking = lacks('sanlock');
/** More than any case needs at once: places are used again, each time for a lease of another name. */
const places = 24;

async function hold(): Promise<void> {
  const file = await makeLockspace(join(folder, 'leases'), 'conformance');
  const [here, there] = await Promise.all(['here', 'there'].map((name) => startSanlock(folder, name)));
  if (here === undefined || there === undefined) throw new Error('both have been started');
  after(() => Promise.all([here.stop(), there.stop()]));
  await Promise.all([here.join(file, 1), there.join(file, 2)]);
  Object.assign(process.env, here.env);
  const settings = { qemu_sanlock_conf: '/nonexistent' };
  const other = await startRemoteDriver('sanlock', settings);
  after(() => other.kill());
  const otherHost = await startRemoteDriver('sanlock', settings, there.env);
  after(() => otherHost.kill());

  const runs: Record<string, Pick<ConformanceOptions, 'secondInstance' | 'badSettings'>> = {
    'one process': { badSettings: { host_id: 'one' } },
    'two processes': { secondInstance: () => other.driver },
    'two hosts': { secondInstance: () => otherHost.driver },
  };
  let made = 0;
  for (const [what, options] of Object.entries(runs)) {
    const suite = await driverConformance({
      factory: sanlockDriver,
      settings,
      makeResource: () => makeLease(file, made++ % places, `n${made}`),
      skip: {
        'a hundred requests are granted, or refused for the last of them':
          'sanlock takes 8 leases in a call, and no more is asked for one process',
        'holders names the owner, with uuid and pid':
          'sanlock knows pids of its own host and names of owners, and no uuid; the record of the hold has it',
      },
      ...options,
    });
    const named: NodeTest = (name, how, run) => void test(`${what}: ${name}`, how, run);
    runWithNodeTest(named, suite);
  }
}

if (lacking === false) await hold();
else test('the conformance suite against real sanlock daemons', { skip: lacking }, () => undefined);

/** The conformance suite against a real virtlockd; the second contender is in this process, and in another one. */
import { join } from 'node:path';
import test, { after } from 'node:test';
import {
  driverConformance,
  runWithNodeTest,
  type ConformanceOptions,
  type NodeTest,
} from '../../../src/driver/conformance.js';
import virtlockdDriver from '../../../src/drivers/virtlockd/virtlockd.js';
import { fileResource, namedResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { startRemoteDriver } from '../../beds/remote-driver.js';
import { startVirtlockd } from '../../beds/virtlockd.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const lacking = lacks('root', 'unshare', 'virtlockd');

async function hold(): Promise<void> {
  const virtlockd = await startVirtlockd(folder);
  after(() => virtlockd.stop());
  const settings = { socket: virtlockd.socket, qemu_lockd_conf: '/nonexistent' };
  const other = await startRemoteDriver('virtlockd', settings);
  after(() => other.kill());

  const runs: Record<string, Pick<ConformanceOptions, 'makeResource' | 'secondInstance' | 'badSettings'>> = {
    disks: {
      makeResource: (n) => fileResource(join(folder, `disk-${n}`)),
      badSettings: { socket: 'relative' },
    },
    // Files in the lockspace instead of the image itself.
    'domain uuids': {
      makeResource: (n) => namedResource(`domain:${n}`),
      badSettings: { ...settings, qemu_lock: 'check' },
    },
    'two processes': {
      makeResource: (n) => fileResource(join(folder, `other-${n}`)),
      secondInstance: () => other.driver,
    },
  };
  for (const [what, options] of Object.entries(runs)) {
    const suite = await driverConformance({
      factory: virtlockdDriver,
      settings,
      skip: {
        'holders names the owner, with uuid and pid':
          'virtlockd names nobody and the kernel names virtlockd; the manager finds the process, and the record of the hold',
      },
      ...options,
    });
    const named: NodeTest = (name, how, run) => void test(`${what}: ${name}`, how, run);
    runWithNodeTest(named, suite);
  }
}

if (lacking === false) await hold();
else test('the conformance suite against a real virtlockd', { skip: lacking }, () => undefined);

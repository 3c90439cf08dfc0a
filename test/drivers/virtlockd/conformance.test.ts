/** The conformance suite against a real virtlockd; the second contender is in this process, and in another one. */
import { join } from 'node:path';
import test, { after } from 'node:test';
import { driverConformance, runWithNodeTest } from '../../../src/driver/conformance.js';
import virtlockdDriver from '../../../src/drivers/virtlockd/virtlockd.js';
import { fileResource, namedResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { startVirtlockd } from '../../beds/virtlockd.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const lacking = lacks('root', 'unshare', 'virtlockd');

if (lacking !== false) {
  test('the conformance suite against a real virtlockd', { skip: lacking }, () => undefined);
} else {
  const virtlockd = await startVirtlockd(folder);
  after(() => virtlockd.stop());
  const skip = {
    'holders names the owner, with uuid and pid':
      'virtlockd names nobody and the kernel names virtlockd; the manager finds the process, and the record of the hold',
  };
  const settings = { socket: virtlockd.socket, qemu_lockd_conf: '/nonexistent' };
  const badSettings = { socket: 'relative' };

  runWithNodeTest(
    test,
    await driverConformance({
      factory: virtlockdDriver,
      settings,
      skip,
      makeResource: (n) => fileResource(join(folder, `disk-${n}`)),
      badSettings,
    }),
  );

  // Domain uuids, leases: files in the lockspace instead of the image itself.
  runWithNodeTest(
    test,
    await driverConformance({
      factory: virtlockdDriver,
      settings,
      skip,
      makeResource: (n) => namedResource(`domain:${n}`),
      badSettings: { ...settings, qemu_lock: 'check' },
    }),
  );
}

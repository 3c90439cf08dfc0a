import { join } from 'node:path';
import test from 'node:test';
import { driverConformance, runWithNodeTest } from '../../../src/driver/conformance.js';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import { fileResource, namedResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';

const folder = privateRuntime();

const skip = {
  'holders names the owner, with uuid and pid':
    'the kernel names no owner of an OFD lock; the manager finds the process, and the record of the hold',
};

runWithNodeTest(
  test,
  await driverConformance({
    factory: fcntl,
    skip,
    makeResource: (n) => fileResource(join(folder, `disk-${n}`)),
    badSettings: { qemu_lock: 'maybe' },
  }),
);

// Domain uuids, leases, directories: lock files in the lockspace instead of the image itself.
runWithNodeTest(
  test,
  await driverConformance({
    factory: fcntl,
    skip,
    makeResource: (n) => namedResource(`domain:${n}`),
    badSettings: { lockspace_dir: 'relative' },
  }),
);

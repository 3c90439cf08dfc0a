/** The conformance suite against a real daemon; the second contender is in this process, and in another one. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { after } from 'node:test';
import {
  driverConformance,
  runWithNodeTest,
  type ConformanceOptions,
  type NodeTest,
} from '../../../src/driver/conformance.js';
import holdfastdDriver from '../../../src/drivers/holdfastd/holdfastd.js';
import { startApiDaemon } from '../../beds/api-daemon.js';
import { fileResource, namedResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { startRemoteDriver } from '../../beds/remote-driver.js';

const folder = privateRuntime();

const unheard = "the bed's other process cannot be told of an abort; both cases run in this process";

type Given = Pick<ConformanceOptions, 'makeResource' | 'secondInstance' | 'badSettings' | 'skip'>;

async function hold(what: string, args: readonly string[], runs: Record<string, Given>): Promise<void> {
  // There is one daemon for each runtime directory.
  const run = join(folder, `${what}-run`);
  mkdirSync(run, { mode: 0o700 });
  process.env['HOLDFAST_RUNTIME_DIR'] = run;
  const daemon = await startApiDaemon(join(folder, what), args);
  after(() => daemon.stop());
  const settings = { socket: daemon.socket };
  const other = await startRemoteDriver('holdfastd', settings);
  after(() => other.kill());
  runs['two processes'] = {
    makeResource: (n) => fileResource(join(folder, `${what}-other-${n}`)),
    secondInstance: () => other.driver,
    skip: {
      'wait returns when it is worth asking again': unheard,
      'wait ends when it is aborted': unheard,
    },
  };
  for (const [how, options] of Object.entries(runs)) {
    const suite = await driverConformance({ factory: holdfastdDriver, settings, ...options });
    const named: NodeTest = (name, run, work) => void test(`${what}, ${how}: ${name}`, run, work);
    runWithNodeTest(named, suite);
  }
}

await hold('memory', ['--driver', 'memory'], {
  disks: { makeResource: (n) => fileResource(join(folder, `memory-${n}`)) },
});
await hold('fcntl', [], {
  disks: {
    makeResource: (n) => fileResource(join(folder, `disk-${n}`)),
    badSettings: { socket: 'relative' },
  },
  'domain uuids': {
    makeResource: (n) => namedResource(`domain:${n}`),
    badSettings: { qemu_lock: 'check' },
  },
});

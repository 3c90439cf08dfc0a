/** The conformance suite against a real etcd; the second contender is in this process, and in another one. */
import { join } from 'node:path';
import test, { after } from 'node:test';
import {
  driverConformance,
  runWithNodeTest,
  type ConformanceOptions,
  type NodeTest,
} from '../../../src/driver/conformance.js';
import etcdDriver from '../../../src/drivers/etcd/etcd.js';
import { startEtcd } from '../../beds/etcd.js';
import { fileResource, namedResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { startRemoteDriver } from '../../beds/remote-driver.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const lacking = lacks('etcd');

async function hold(): Promise<void> {
  const cluster = await startEtcd(folder);
  after(() => cluster.stop());
  const settings = { endpoints: cluster.endpoints };
  const other = await startRemoteDriver('etcd', settings);
  after(() => other.kill());

  const runs: Record<string, Pick<ConformanceOptions, 'makeResource' | 'secondInstance' | 'badSettings'>> = {
    'what the cluster shares': {
      makeResource: (n) => namedResource(`net:rbd:pool/image ${n} %/\u00e9`),
      badSettings: { endpoints: cluster.endpoints, ttl: 5, kill_grace: 4 },
    },
    'what one host has': {
      makeResource: (n) => fileResource(join(folder, `disk-${n}`)),
      badSettings: { endpoints: '127.0.0.1:2379' },
    },
    'two processes': {
      makeResource: (n) => namedResource(`domain:${n}`),
      secondInstance: () => other.driver,
    },
  };
  for (const [what, options] of Object.entries(runs)) {
    const suite = await driverConformance({ factory: etcdDriver, settings, ...options });
    const named: NodeTest = (name, how, run) => void test(`${what}: ${name}`, how, run);
    runWithNodeTest(named, suite);
  }
}

if (lacking === false) await hold();
else test('the conformance suite against a real etcd', { skip: lacking }, () => undefined);

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceUnitIn } from '../../src/system/service-unit.js';

const system = { name: 'holdfastd.service', user: false };

for (const [what, text, unit] of [
  ['a service', '0::/system.slice/holdfastd.service\n', system],
  ['a group of its own below it', '0::/system.slice/holdfastd.service/sub\n', system],
  [
    'hosts with the first version of groups',
    '4:cpu:/x\n1:name=systemd:/system.slice/holdfastd.service\n',
    system,
  ],
  ['hosts with both', '9:name=systemd:/\n8:pids:/\n0::/system.slice/holdfastd.service\n', system],
  [
    "a user's service",
    '0::/user.slice/user-1000.slice/user@1000.service/app.slice/holdfastd.service\n',
    { name: 'holdfastd.service', user: true },
  ],
  ['a login', '0::/user.slice/user-0.slice/session-3.scope\n', undefined],
  ["a user's systemd itself", '0::/user.slice/user-1000.slice/user@1000.service/init.scope\n', undefined],
  ['a container', '0::/\n', undefined],
  ['nothing', '', undefined],
] as const) {
  test(what, () => assert.deepEqual(serviceUnitIn(text), unit));
}

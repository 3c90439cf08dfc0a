/** The settings of the driver: what is taken, and what is said of the rest. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readEtcdSettings } from '../../../src/drivers/etcd/etcd-settings.js';
import { isHoldfastError } from '../../../src/errors.js';
import { privateFolder } from '../../beds/private-folder.js';

const folder = privateFolder();

function refused(settings: Readonly<Record<string, unknown>>): {
  readonly setting: string;
  readonly message: string;
} {
  try {
    readEtcdSettings(settings);
  } catch (error) {
    assert.ok(isHoldfastError(error, 'CONFIG'), String(error));
    return { setting: error.setting ?? '', message: error.message };
  }
  return assert.fail(`${JSON.stringify(settings)} was taken`);
}

test('nothing given: a server on this host', () => {
  const { client, prefix, timings, maxOperations } = readEtcdSettings({});
  assert.deepEqual(client.endpoints, ['http://127.0.0.1:2379']);
  assert.deepEqual([prefix, timings.ttlMs, maxOperations], ['holdfast', 10_000, 128]);
});

test('endpoints are a list or a text, with etcd\u2019s port where none is named', () => {
  const endpoints = (value: unknown): readonly string[] =>
    readEtcdSettings({ endpoints: value }).client.endpoints;
  assert.deepEqual(endpoints('http://a:1, http://b'), ['http://a:1', 'http://b:2379']);
  assert.deepEqual(endpoints(['https://[::1]:443', 'https://c:2380/']), [
    'https://[::1]:443',
    'https://c:2380',
  ]);
  assert.deepEqual(endpoints(['http://a:80']), ['http://a:80']);
});

test('secrets and certificates are read from files', () => {
  const at = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const { client } = readEtcdSettings({
    endpoints: 'https://a',
    ca: at('ca', 'CA'),
    cert: at('cert', 'CERT'),
    key: at('key', 'KEY'),
    user: 'host',
    password_file: at('password', 'word\n'),
  });
  assert.deepEqual(
    { ...client, endpoints: [] },
    {
      endpoints: [],
      ca: 'CA',
      cert: 'CERT',
      key: 'KEY',
      user: { name: 'host', password: 'word' },
      callMs: 3_000,
    },
  );
});

test('what is wrong is named', () => {
  const cases: readonly (readonly [Readonly<Record<string, unknown>>, string])[] = [
    [{ endpoint: 'http://a' }, 'endpoint'],
    [{ endpoints: [] }, 'endpoints'],
    [{ endpoints: 'a:2379' }, 'endpoints'],
    [{ endpoints: 'http://user@a' }, 'endpoints'],
    [{ endpoints: 'http://a/path' }, 'endpoints'],
    [{ endpoints: 'http://a,https://b' }, 'endpoints'],
    [{ ca: '/etc/hostname' }, 'ca'],
    [{ endpoints: 'https://a', ca: 'relative' }, 'ca'],
    [{ endpoints: 'https://a', cert: '/nonexistent' }, 'cert'],
    [{ endpoints: 'https://a', cert: '/etc/hostname' }, 'cert'],
    [{ endpoints: 'https://a', key: '/etc/hostname' }, 'key'],
    [{ user: 'host' }, 'user'],
    [{ password: 'word' }, 'password'],
    [{ user: 'host', password: 'a', password_file: '/b' }, 'password_file'],
    [{ prefix: '' }, 'prefix'],
    [{ prefix: 'a b' }, 'prefix'],
    [{ prefix: 'a/' }, 'prefix'],
    [{ ttl: 'soon' }, 'ttl'],
    [{ ttl: 1 }, 'ttl'],
    [{ ttl: 2.5 }, 'ttl'],
    [{ timeout: 0 }, 'timeout'],
    [{ max_operations: 0 }, 'max_operations'],
    [{ max_operations: '128' }, 'max_operations'],
  ];
  for (const [settings, setting] of cases) {
    assert.equal(refused(settings).setting, setting, JSON.stringify(settings));
  }
  assert.match(refused({ endpoint: 'http://a' }).message, /did you mean 'endpoints'/);
});

test('the relations of the times are checked, and explained with the numbers', () => {
  assert.deepEqual(readEtcdSettings({ ttl: 20 }).timings.renewDeadlineMs, 12_000);
  assert.match(refused({ ttl: '10s', kill_grace: '4s' }).message, /ttl \(10 s\).*kill_grace \(4 s\).*= 11 s/);
  assert.equal(refused({ ttl: 10, renew_interval: 2.1 }).setting, 'renew_interval');
});

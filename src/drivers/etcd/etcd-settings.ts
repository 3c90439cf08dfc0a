/** The driver's settings: `[driver.etcd]` in the configuration. */
import { readFileSync } from 'node:fs';
import type { DriverSettings } from '../../driver/contract.js';
import { parseDuration } from '../../duration.js';
import { causeText, HoldfastError } from '../../errors.js';
import { nearestWord } from '../../nearest-word.js';
import type { EtcdClientOptions } from './client/endpoint.js';
import { timingsFrom, type Timings } from './timings.js';

export interface EtcdSettings {
  readonly client: EtcdClientOptions;
  /** Clusters of locks that share an etcd are told apart by it. */
  readonly prefix: string;
  readonly timings: Timings;
  /** What etcd takes in one transaction: its `--max-txn-ops`. */
  readonly maxOperations: number;
  /** How long what a guest gives back for its migration is kept for it; 0: not at all. */
  readonly reserveMs: number;
}

const names = [
  'endpoints',
  'ca',
  'cert',
  'key',
  'user',
  'password',
  'password_file',
  'prefix',
  'ttl',
  'renew_interval',
  'renew_deadline',
  'kill_grace',
  'margin',
  'timeout',
  'max_operations',
  'reserve',
] as const;
type Name = (typeof names)[number];

/** As etcdctl's. */
const endpointDefault = 'http://127.0.0.1:2379';
const prefixDefault = 'holdfast';
/** etcd's own default (`embed.DefaultMaxTxnOps`). */
const maxOperationsDefault = 128;
/** A new leader is elected in 1 to 2 s: a call that comes in between is answered after it. */
const callMsDefault = 3_000;
const callMsMin = 100;
/** libvirt gives back at the source and takes at the destination: 27 ms were measured, and a slow network is slower. */
const reserveMsDefault = 5_000;

/** Throws `CONFIG`, with the setting that is wrong. */
export function readEtcdSettings(given: DriverSettings): EtcdSettings {
  for (const name of Object.keys(given)) {
    if ((names as readonly string[]).includes(name)) continue;
    const nearest = nearestWord(name, names);
    const hint = nearest === undefined ? `there are ${names.join(', ')}` : `did you mean '${nearest}'?`;
    throw wrong(name as Name, `there is no setting '${name}'; ${hint}`);
  }
  const settings = given as Readonly<Partial<Record<Name, unknown>>>;
  const endpoints = readEndpoints(settings.endpoints);
  const user = readUser(settings);
  const tls = readTls(settings, endpoints);
  return {
    client: {
      endpoints,
      ...tls,
      ...(user === undefined ? {} : { user }),
      callMs: duration(settings, 'timeout', callMsMin) ?? callMsDefault,
    },
    prefix: readPrefix(settings.prefix),
    timings: timingsFrom({
      ttlMs: duration(settings, 'ttl'),
      renewIntervalMs: duration(settings, 'renew_interval'),
      renewDeadlineMs: duration(settings, 'renew_deadline'),
      graceMs: duration(settings, 'kill_grace'),
      marginMs: duration(settings, 'margin'),
    }),
    maxOperations: readMaxOperations(settings.max_operations),
    reserveMs: duration(settings, 'reserve') ?? reserveMsDefault,
  };
}

function readEndpoints(value: unknown): readonly string[] {
  if (value === undefined) return [endpointDefault];
  const list = typeof value === 'string' ? value.split(',') : value;
  if (!Array.isArray(list) || list.length === 0) {
    throw wrong('endpoints', '`endpoints` has to be a list of one or more URLs');
  }
  const endpoints = list.map(readEndpoint);
  if (new Set(endpoints.map((url) => new URL(url).protocol)).size > 1) {
    throw wrong('endpoints', '`endpoints` has to be http for all, or https for all');
  }
  return endpoints;
}

function readEndpoint(value: unknown): string {
  const text = typeof value === 'string' ? value.trim() : '';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const proper =
    url !== undefined &&
    ['http:', 'https:'].includes(url.protocol) &&
    ['', '/'].includes(url.pathname) &&
    url.search + url.hash + url.username + url.password === '';
  if (!proper) {
    throw wrong('endpoints', `${JSON.stringify(value)} is no endpoint: it has to be http(s)://HOST:PORT`);
  }
  // 2379 is etcd's own port; a URL without one would mean that of the web.
  const port = /:\d+\/?$/.test(text) ? new URL(text.replace(/^https?/, 'x')).port : '2379';
  return `${url.protocol}//${url.hostname}:${port}`;
}

function readUser(
  settings: Readonly<Partial<Record<Name, unknown>>>,
): { readonly name: string; readonly password: string } | undefined {
  const name = text(settings, 'user');
  const password = text(settings, 'password');
  const file = text(settings, 'password_file');
  if (name === undefined) {
    const without = password === undefined ? (file === undefined ? undefined : 'password_file') : 'password';
    if (without !== undefined) throw wrong(without, `\`${without}\` is given, but no \`user\``);
    return undefined;
  }
  if (password !== undefined && file !== undefined) {
    throw wrong('password_file', '`password` and `password_file` are both given');
  }
  if (password !== undefined) return { name, password };
  if (file === undefined) throw wrong('user', '`user` is given, but neither `password` nor `password_file`');
  return { name, password: readFile('password_file', file).replace(/\r?\n$/, '') };
}

function readTls(
  settings: Readonly<Partial<Record<Name, unknown>>>,
  endpoints: readonly string[],
): Pick<EtcdClientOptions, 'ca' | 'cert' | 'key'> {
  const given = (['ca', 'cert', 'key'] as const).flatMap((name) => {
    const path = text(settings, name);
    return path === undefined ? [] : [[name, readFile(name, path)] as const];
  });
  const tls = Object.fromEntries(given) as Partial<Record<'ca' | 'cert' | 'key', string>>;
  const [first] = given;
  if (first !== undefined && endpoints.some((url) => url.startsWith('http:'))) {
    throw wrong(first[0], `\`${first[0]}\` is given, but the endpoints are not encrypted`, {
      remedy: 'Let the endpoints begin with https.',
    });
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw wrong(tls.cert === undefined ? 'key' : 'cert', '`cert` and `key` belong together');
  }
  return tls;
}

function readPrefix(value: unknown): string {
  if (value === undefined) return prefixDefault;
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value) || value.endsWith('/')) {
    throw wrong(
      'prefix',
      '`prefix` has to be one or more visible ASCII characters, without a slash at the end',
    );
  }
  return value;
}

function readMaxOperations(value: unknown): number {
  if (value === undefined) return maxOperationsDefault;
  if (!Number.isSafeInteger(value) || (value as number) < 8) {
    throw wrong('max_operations', '`max_operations` has to be a whole number of at least 8', {
      remedy: "Give what etcd's --max-txn-ops has.",
    });
  }
  return value as number;
}

function duration(
  settings: Readonly<Partial<Record<Name, unknown>>>,
  name: Name,
  minMs = 0,
): number | undefined {
  const value = settings[name];
  if (value === undefined) return undefined;
  const ms =
    typeof value === 'number' || typeof value === 'string' ? parseDuration(String(value)) : undefined;
  if (ms !== undefined && ms >= minMs) return ms;
  throw wrong(
    name,
    `\`${name}\` is ${JSON.stringify(value)}: it has to be a duration, such as 10 or "2500ms"`,
  );
}

function text(settings: Readonly<Partial<Record<Name, unknown>>>, name: Name): string | undefined {
  const value = settings[name];
  if (value === undefined || (typeof value === 'string' && value !== '')) return value;
  throw wrong(name, `\`${name}\` has to be a string`);
}

function readFile(name: Name, path: string): string {
  if (!path.startsWith('/')) throw wrong(name, `\`${name}\` has to be an absolute path`);
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw wrong(name, `\`${name}\` cannot be read: ${causeText(error)}`);
  }
}

function wrong(setting: Name, what: string, details: { readonly remedy?: string } = {}): HoldfastError {
  return new HoldfastError('CONFIG', `driver etcd: ${what}`, { setting, ...details });
}

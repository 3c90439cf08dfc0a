/** Guests as libvirt speaks of them to the lock daemon of a host, and the processes that they are. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LockCall } from '../../src/protocol/lock-protocol.js';
import { startClusterHost, type ClusterHost, type ClusterHostOptions } from './cluster-host.js';
import { LockClient } from './lock-client.js';

export const autocreate = 2;
export const shared = 1;

/** A guest: its process, and what libvirt says of it. */
export interface Guest {
  readonly name: string;
  readonly uuid: Buffer;
  readonly process: ChildProcess;
}

let guests = 0;
const started: ChildProcess[] = [];

/** @param stubborn its process takes no notice of SIGTERM */
export function newGuest(name: string, uuid?: Buffer, stubborn = false): Guest {
  const [program, ...args] = stubborn
    ? (['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'] as const)
    : (['sleep', '600'] as const);
  const process = spawn(program, args, { stdio: 'ignore' });
  started.push(process);
  guests++;
  const own = Buffer.from(guests.toString(16).padStart(32, 'a'), 'hex');
  return { name, uuid: uuid ?? own, process };
}

async function connect(host: ClusterHost, { name, uuid, process }: Guest): Promise<LockClient> {
  const client = await LockClient.connect(host.socket);
  const owner = { uuid, name, id: 1, pid: process.pid ?? 0 };
  assert.equal(await client.call({ call: 'register', owner, flags: 0 }), undefined);
  return client;
}

/** What libvirt does: a connection for each thing that it asks. */
async function ask(host: ClusterHost, guest: Guest, call: LockCall): Promise<string> {
  const client = await connect(host, guest);
  try {
    const error = await client.call(call);
    return error === undefined ? 'ok' : `${error.code} ${error.message}`;
  } finally {
    client.close();
  }
}

export function acquire(host: ClusterHost, guest: Guest, name: string, flags = autocreate): Promise<string> {
  return ask(host, guest, { call: 'acquire', path: lockspace(host), name, flags });
}

export function release(host: ClusterHost, guest: Guest, name: string): Promise<string> {
  return ask(host, guest, { call: 'release', path: lockspace(host), name, flags: 0 });
}

/** The same one for all hosts: it is known by the last part of its path. */
function lockspace(host: ClusterHost): string {
  return join(host.folder, 'shared');
}

/** A host with that lockspace; `folder` is a private one of the test. */
export async function newHost(
  folder: string,
  name: string,
  options: ClusterHostOptions,
): Promise<ClusterHost> {
  const host = await startClusterHost(folder, name, options);
  mkdirSync(lockspace(host), { recursive: true });
  const client = await LockClient.connect(host.socket);
  assert.equal(await client.call({ call: 'createLockspace', path: lockspace(host) }), undefined);
  client.close();
  return host;
}

/** Ends all that were made. */
export function endGuests(): void {
  for (const process of started) process.kill('SIGKILL');
}

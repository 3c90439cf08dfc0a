/** What `other-process.ts` starts: one JSON line a command in, one word out. */
import { createInterface } from 'node:readline';
import type { Grant } from '../../src/driver/contract.js';
import fcntl from '../../src/drivers/fcntl/fcntl.js';
import { isHoldfastError } from '../../src/errors.js';
import type { LockRequest, Owner } from '../../src/vocabulary.js';

interface Command {
  readonly do: 'acquire' | 'extend' | 'shrink' | 'release';
  readonly name: string;
  readonly requests: readonly LockRequest[];
  readonly identities: readonly string[];
}

const owner: Owner = {
  kind: 'command',
  name: 'other',
  uuid: '0',
  pid: process.pid,
  startTime: 1,
  host: 'h',
  hostId: 'h',
};
const driver = await fcntl.start(JSON.parse(process.argv[2] ?? '{}') as Record<string, unknown>);
const grants = new Map<string, Grant>();
const options = { signal: new AbortController().signal };

async function obey({ do: what, name, requests, identities }: Command): Promise<string> {
  const grant = grants.get(name);
  if (what === 'acquire') grants.set(name, await driver.acquire(owner, requests, options));
  else if (grant === undefined) return 'no such grant';
  else if (what === 'release') await driver.release(grant);
  else if (what === 'extend')
    grants.set(name, (await driver.extend?.(grant, owner, requests, options)) ?? grant);
  else grants.set(name, (await driver.shrink?.(grant, identities)) ?? grant);
  return what === 'acquire' || what === 'extend' ? 'granted' : 'done';
}

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(await obey(JSON.parse(line) as Command));
  } catch (error) {
    console.log(isHoldfastError(error) ? error.code : String(error));
  }
}

/** `lock-holder.ts SOCKET RESOURCES`: registers this process, acquires, says `held` (or `closed`, or what is wrong), and does what its input says. */
import { argv } from 'node:process';
import { createInterface } from 'node:readline';
import { LockClient } from './lock-client.js';

const [, , socket = '', resources = '[]'] = argv;
const closed = (): never => {
  process.stdout.write('closed\n');
  process.exit(0);
};
const client = await LockClient.connect(socket);
const owner = { uuid: Buffer.alloc(16, 1), name: 'holder', id: 1, pid: process.pid };
const errors = [await client.call({ call: 'register', owner, flags: 0 }).catch(closed)];
for (const [path, name, flags] of JSON.parse(resources) as [string, string, number][]) {
  errors.push(await client.call({ call: 'acquire', path, name, flags }));
}
const failed = errors.find((error) => error !== undefined);
process.stdout.write(`${failed === undefined ? 'held' : failed.message}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'close') client.close();
  else process.exit(0);
}

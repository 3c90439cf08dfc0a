/** The daemon of `lockd-keeper.js`. Says what happens as lines of JSON. */
import { env, exit, pid } from 'node:process';
import { LockdThread } from '../../src/daemon/lockd/lockd-thread.js';

const say = (message: string, facts: object): void =>
  void process.stdout.write(`${JSON.stringify({ message, pid, ...facts })}\n`);

const sockets = JSON.parse(env['HOLDFAST_SOCKETS'] ?? '{}') as Record<string, number>;
const thread = new LockdThread({
  program: new URL('./lockd-worker.js', import.meta.url),
  listening: sockets['lockd'] ?? -1,
  channel: sockets['channel:lockd'] ?? -1,
  journalPath: env['LOCKD_JOURNAL'] ?? '',
  explain: async () => undefined,
});
thread.on('error', (error) => {
  say('failed', { error: error.stack });
  exit(1);
});
thread.on('event', (event) => say('event', { event }));
process.on('SIGTERM', () => void thread.stop().then(() => exit(0)));
say('serving', { start: await thread.started });
process.stdin.resume();
setInterval(() => undefined, 60_000);

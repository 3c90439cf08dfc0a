/** The daemon of `lockd-keeper.js`. Says what happens as lines of JSON. */
import { argv, env, execPath, exit, pid } from 'node:process';
import { fileURLToPath } from 'node:url';
import { Channel } from '../../src/daemon/keeper/channel.js';
import { KeeperReplacement } from '../../src/daemon/keeper/replace-keeper.js';
import { LockdThread } from '../../src/daemon/lockd/lockd-thread.js';

const [, , socket = ''] = argv;
const say = (message: string, facts: object): void =>
  void process.stdout.write(`${JSON.stringify({ message, pid, ...facts })}\n`);

const sockets = JSON.parse(env['HOLDFAST_SOCKETS'] ?? '{}') as Record<string, number>;
const api = new Channel(sockets['channel:api'] ?? -1, true);
api.takeKept();
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
const keeper = new KeeperReplacement({
  keeper: [execPath, fileURLToPath(new URL('./lockd-keeper.js', import.meta.url)), socket],
  sockets,
  apiEnd: () => api.renew(),
  failed: (error) => say('no keeper', { error: error.message }),
});
thread.on('keeper ended', (end) => void keeper.replace(end));
process.on('SIGTERM', () => void thread.stop().then(() => exit(0)));
say('serving', { start: await thread.started });
setInterval(() => undefined, 60_000);

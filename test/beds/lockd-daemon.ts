/** The daemon of `lockd-keeper.js`. Says what happens as lines of JSON. */
import { argv, env, execPath, exit, pid } from 'node:process';
import { fileURLToPath } from 'node:url';
import { Channel } from '../../src/daemon/keeper/channel.js';
import { KeeperReplacement } from '../../src/daemon/keeper/replace-keeper.js';
import { ownKeeper } from '../../src/daemon/keeper/start-keeper.js';
import { LockdThread } from '../../src/daemon/lockd/lockd-thread.js';

const [, , socket = ''] = argv;
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
const keeper = new KeeperReplacement({
  current: ownKeeper(sockets['channel:api'] ?? -1),
  keeper: [execPath, fileURLToPath(new URL('./lockd-keeper.js', import.meta.url)), socket],
  sockets,
  apiEnds: () => api.renew(),
  failed: (error) => say('no keeper', { error: error.message }),
  standsStill: (keeperPid, again) => say('the keeper stands still', { keeper: keeperPid, again }),
});
const api = new Channel(sockets['channel:api'] ?? -1, {
  remember: true,
  standsStill: (again) => keeper.rouse(again),
});
api.takeKept();
thread.on('keeper stands still', (again) => keeper.rouse(again));
thread.on('keeper ended', (ends) => void keeper.replace(ends));
// More than there is room for, for a keeper that stands still.
process.on('SIGUSR2', () => {
  for (let time = 0; time < 200; time++) api.keep(1, 'x'.repeat(100_000), []);
});
process.on('SIGTERM', () => void thread.stop().then(() => exit(0)));
say('serving', { start: await thread.started });
setInterval(() => undefined, 60_000);

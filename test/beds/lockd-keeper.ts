/**
 * `lockd-keeper.js SOCKET [--take-over]`: a keeper whose daemon serves libvirt's lock protocol alone. Says what it logs as
 * lines of JSON.
 */
import { rmSync } from 'node:fs';
import { argv, env, execPath, exit, pid } from 'node:process';
import { fileURLToPath } from 'node:url';
import { Keeper } from '../../src/daemon/keeper/keeper.js';
import { adoptedDaemon } from '../../src/daemon/keeper/start-keeper.js';
import { takeOver } from '../../src/daemon/keeper/take-over.js';
import { listenUnix } from '../../src/system/unix-socket.js';

const [, , socket = '', option] = argv;
const backlog = 1024;
const options = (env['LOCKD_NODE_OPTIONS'] ?? '').split(' ').filter((one) => one !== '');

function listen(): number {
  rmSync(socket, { force: true });
  const umask = process.umask(0o177);
  try {
    return listenUnix(socket, backlog);
  } finally {
    process.umask(umask);
  }
}

const say = (message: string, facts: object): void =>
  void process.stdout.write(`${JSON.stringify({ message, keeper: pid, ...facts })}\n`);

const successorPath = `${socket}.keeper`;
const adopted = adoptedDaemon(env);
const before = option === '--take-over' ? takeOver(successorPath) : undefined;
const keeper = new Keeper({
  daemon: [execPath, ...options, fileURLToPath(new URL('./lockd-daemon.js', import.meta.url)), socket],
  sockets: adopted?.sockets ?? before?.sockets ?? { lockd: listen() },
  log: say,
  successorPath,
  ...(before === undefined ? {} : { things: before.things }),
  ...(adopted === undefined ? {} : { adopt: adopted.daemon }),
});
// Another one that dies before it has taken over, and one that hangs.
if (before !== undefined && env['LOCKD_NEVER_TAKES'] !== undefined) exit(1);
process.on('SIGUSR2', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
before?.confirm();
say('keeping', {});
const end = await keeper.run();
if (end === 'stopped') keeper.close();
say(end, {});
exit(0);

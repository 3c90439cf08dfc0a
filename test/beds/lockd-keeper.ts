/** `lockd-keeper.js SOCKET`: a keeper whose daemon serves libvirt's lock protocol alone. Says what it logs as lines of JSON. */
import { rmSync } from 'node:fs';
import { argv, env, execPath, exit } from 'node:process';
import { fileURLToPath } from 'node:url';
import { Keeper } from '../../src/daemon/keeper/keeper.js';
import { listenUnix } from '../../src/system/unix-socket.js';

const [, , socket = ''] = argv;
const backlog = 1024;

rmSync(socket, { force: true });
const umask = process.umask(0o177);
const listening = listenUnix(socket, backlog);
process.umask(umask);
const keeper = new Keeper({
  daemon: [
    execPath,
    ...(env['LOCKD_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== ''),
    fileURLToPath(new URL('./lockd-daemon.js', import.meta.url)),
  ],
  sockets: { lockd: listening },
  log: (message, facts) => process.stdout.write(`${JSON.stringify({ message, ...facts })}\n`),
});
exit(await keeper.run());

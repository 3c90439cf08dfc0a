/** The protocol of sd_listen_fds(3): sockets that the service manager opened before it started this process. */
import { HoldfastError } from '../../errors.js';
import { isListening, makeOwn } from '../../system/listening-socket.js';

const firstDescriptor = 3;
/** Two are known; a service manager that gives more was set up for something else. */
const descriptorsMax = 64;

/**
 * The sockets by name (`FileDescriptorName=`), and takes their variables out of the environment, which children inherit.
 * Throws `CONFIG` for a socket of another name, one twice, or one that does not listen.
 */
export function takeActivatedSockets(
  names: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, number>> {
  const { LISTEN_PID: pid, LISTEN_FDS: count, LISTEN_FDNAMES: given = '' } = environment;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete environment[name];
  if (count === undefined || Number(pid) !== process.pid) return {};
  const number = Number(count);
  if (!Number.isSafeInteger(number) || number < 0 || number > descriptorsMax)
    throw wrong(`LISTEN_FDS is ${count}`);
  const givenNames = given.split(':');
  const sockets: Record<string, number> = {};
  for (let index = 0; index < number; index++) {
    const fd = firstDescriptor + index;
    const name = givenNames[index] ?? '';
    if (!names.includes(name)) throw wrong(`the socket ${index + 1} of ${number} is called '${name}'`);
    if (name in sockets) throw wrong(`two sockets are called '${name}'`);
    if (!isListening(fd)) throw wrong(`the socket '${name}' is no unix stream socket that listens`);
    makeOwn(fd);
    sockets[name] = fd;
  }
  return sockets;

  function wrong(what: string): HoldfastError {
    return new HoldfastError('CONFIG', `socket activation: ${what}`, {
      remedy: `Give each socket unit a FileDescriptorName: ${names.join(' or ')}.`,
    });
  }
}

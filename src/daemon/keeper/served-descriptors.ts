/** What is served, as one list of descriptors by name: what a keeper gives to its daemon and to another keeper. */
import type { ServedSockets } from './listening-sockets.js';

const guardPrefix = 'guard:';
/** Beside each socket that was bound here. */
const lockSuffix = '.lock';

export function descriptorsOf({ sockets, guards }: ServedSockets): Record<string, number> {
  const named = Object.entries(guards).map(([path, fd]) => [`${guardPrefix}${path}`, fd]);
  return { ...sockets, ...Object.fromEntries(named) };
}

export function servedBy(descriptors: Readonly<Record<string, number>>): ServedSockets {
  const sockets: Record<string, number> = {};
  const guards: Record<string, number> = {};
  for (const [name, fd] of Object.entries(descriptors)) {
    if (name.startsWith(guardPrefix)) guards[name.slice(guardPrefix.length)] = fd;
    else sockets[name] = fd;
  }
  const files = Object.keys(guards)
    .filter((path) => path.endsWith(lockSuffix))
    .map((path) => path.slice(0, -lockSuffix.length));
  return { sockets, files, guards };
}

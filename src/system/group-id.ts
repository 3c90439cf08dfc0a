/** The number of a group. */
import { execFileSync } from 'node:child_process';
import { readProcText } from './proc-file.js';

const groupBytesMax = 4 * 1024 * 1024;

/** By name or number; undefined: there is no such group. Groups of a directory service are asked of getent(1). */
export function groupId(name: string): number | undefined {
  if (/^\d{1,9}$/.test(name)) return Number(name);
  const text = readProcText('/etc/group', groupBytesMax) ?? '';
  return parseGroup(text, name) ?? parseGroup(askGetent(name), name);
}

/** group(5): name, password, number, members. */
export function parseGroup(text: string, name: string): number | undefined {
  for (const line of text.split('\n')) {
    const [found, , gid] = line.split(':');
    if (found === name && gid !== undefined && /^\d+$/.test(gid)) return Number(gid);
  }
  return undefined;
}

function askGetent(name: string): string {
  try {
    return execFileSync('getent', ['group', name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return ''; // No such group, or no getent.
  }
}

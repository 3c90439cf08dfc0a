/** The names of users, from /etc/passwd. Users of a directory service (LDAP) keep their number. */
import { readProcText } from './proc-file.js';

/** Far more than local users need; a directory service does not write there. */
const passwdBytesMax = 4 * 1024 * 1024;

let names: ReadonlyMap<number, string> | undefined;

/** The user's name, or the number as text. The file is read once: names are for people, and seldom change. */
export function userName(uid: number): string {
  names ??= parsePasswd(readProcText('/etc/passwd', passwdBytesMax) ?? '');
  return names.get(uid) ?? String(uid);
}

/** passwd(5). The first name of a number counts, as for getpwuid(3). */
export function parsePasswd(text: string): Map<number, string> {
  const found = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [name, , uid] = line.split(':');
    if (name === undefined || name === '' || uid === undefined || !/^\d+$/.test(uid)) continue;
    if (!found.has(Number(uid))) found.set(Number(uid), name);
  }
  return found;
}

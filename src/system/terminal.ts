/** Whether this process is in the foreground of its terminal: then Ctrl-C reaches its children without our help. */
import { readFileSync } from 'node:fs';

/** Fields 5 (process group) and 8 (foreground group of the terminal, or -1) of /proc/self/stat, proc(5). */
export function inForeground(): boolean {
  const text = readFileSync('/proc/self/stat', 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[2] === fields[5];
}

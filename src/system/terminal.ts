/** Who hears of Ctrl-C: the foreground process group of the terminal. */
import { readFileSync } from 'node:fs';

/** Fields 5 (process group) and 8 (foreground group of the terminal, or -1) of /proc/PID/stat, proc(5). */
function groups(pid: number | 'self'): {
  readonly own: string | undefined;
  readonly foreground: string | undefined;
} {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { own: fields[2], foreground: fields[5] };
}

/** Whether what the terminal sends to this process reaches that child as well, without our help. */
export function hearsTerminal(child: number): boolean {
  try {
    const self = groups('self');
    return self.own === self.foreground && groups(child).own === self.own;
  } catch {
    return false; // It ended: whoever is told now does not hear anything.
  }
}

/** The daemon's log: one line of JSON for each entry, on stderr, where a service manager takes it. */
import { pino, type Logger } from 'pino';
import type { LogLevel } from '../index.js';

export type DaemonLog = Logger;

const stderr = 2;

/** Written at once: what was logged before a crash is there. */
export function openLog(level: LogLevel): DaemonLog {
  return pino(
    { level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: stderr, sync: true }),
  );
}

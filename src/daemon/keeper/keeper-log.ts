/** What the keeper says: lines like the daemon's, without what makes those. */
import { writeSync } from 'node:fs';
import type { KeeperOptions } from './keeper.js';

const stderr = 2;
/** pino's number of `info`. */
const info = 30;

export const logKeeper: KeeperOptions['log'] = (message, { pid: daemon, ...facts }) => {
  const line = {
    level: info,
    time: new Date().toISOString(),
    pid: process.pid,
    part: 'keeper',
    daemon,
    ...facts,
    msg: message,
  };
  try {
    writeSync(stderr, `${JSON.stringify(line)}\n`);
  } catch {
    // Nobody reads it: that ends nothing.
  }
};

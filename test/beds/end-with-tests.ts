/**
 * Loaded before each test file by `npm test`: whatever the file has started ends with it. A test that fails half-way may leave
 * processes that keep its file from ending, and one that outlives it has its output open: the run would wait ten minutes.
 */
import { randomBytes } from 'node:crypto';
import { after } from 'node:test';
import { isMainThread } from 'node:worker_threads';
import { endMarkedProcesses, markedProcesses } from './marked-processes.js';

/** For hooks of the file that end what it has started. */
const ownMs = 60_000;

// Not in what the file starts: other processes, threads.
if (isMainThread && process.argv[1]?.endsWith('.test.ts') === true) {
  const name = 'HOLDFAST_TEST_FILE';
  const value = `${process.pid}.${randomBytes(8).toString('hex')}`;
  const mark = `${name}=${value}`;
  process.env[name] = value;
  after(() => {
    const late = setTimeout(() => {
      process.stderr.write(`still running when the tests are over: ${markedProcesses(mark).join(' ')}\n`);
      endMarkedProcesses(mark);
    }, ownMs);
    late.unref();
  });
  process.on('exit', () => endMarkedProcesses(mark));
}

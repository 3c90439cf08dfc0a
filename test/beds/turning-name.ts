/**
 * A name that leads to another of many images every moment, turned by a thread of its own that notes what it does: so it
 * can be said what the name can have led to between two moments.
 */
import { Worker } from 'node:worker_threads';

export interface TurningName {
  /** How often it was turned so far. */
  turns(): number;
  /**
   * The images, by their index, that the name can have led to at some moment between two numbers of turns.
   * The turn that follows `to` may have been made already, though not noted.
   */
  between(from: number, to: number): Promise<readonly number[]>;
  stop(): Promise<void>;
}

/** Far more than a test lasts. */
const turnsMax = 1 << 20;

const code = `
const fs = require('node:fs');
const { workerData: { path, images, how, shared, pauseMs } } = require('node:worker_threads');
const log = new Int32Array(shared);
const sleeper = new Int32Array(new SharedArrayBuffer(4));
for (let turn = 1; turn < log.length - 2; turn++) {
  const index = turn % images.length;
  if (how === 'symlink') fs.symlinkSync(images[index], path + '.next');
  else fs.linkSync(images[index], path + '.next');
  fs.renameSync(path + '.next', path);
  log[1 + turn] = index;
  Atomics.store(log, 0, turn);
  Atomics.notify(log, 0);
  Atomics.wait(sleeper, 0, 0, Math.random() * pauseMs);
}`;

/** Starts to turn `path`, which has to lead to the first of the images, by symlinks or by hard links. */
export function turnName(
  path: string,
  images: readonly string[],
  how: 'symlink' | 'hard link',
  pauseMs: number,
): TurningName {
  const shared = new SharedArrayBuffer(4 * turnsMax);
  const log = new Int32Array(shared);
  const worker = new Worker(code, { eval: true, workerData: { path, images, how, shared, pauseMs } });
  return {
    turns: () => Atomics.load(log, 0),
    async between(from, to) {
      while (Atomics.load(log, 0) <= to) await new Promise((resolve) => setTimeout(resolve, 1));
      return Array.from(log.subarray(1 + from, 1 + to + 2));
    },
    async stop() {
      await worker.terminate();
    },
  };
}

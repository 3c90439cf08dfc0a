/** A clock that only goes forward. Node's `performance` is loaded at its first use, which costs 1.4 ms of a start. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** Stops this thread for a moment: for a few milliseconds that another process needs, where nothing else is to run. */
export function pauseThread(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

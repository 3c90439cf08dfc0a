/** A clock that only goes forward. Node's `performance` is loaded at its first use, which costs 1.4 ms of a start. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

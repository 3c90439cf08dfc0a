/**
 * What Node changes before our first line runs, as the launcher (the shell lines at the top of the command)
 * saw it: the soft limit of open files, which Node raises, the ignored signals, which it resets, and the descriptors
 * that the caller opened for the command, which it makes close-on-exec.
 */
export interface LaunchState {
  /** RLIMIT_NOFILE, soft; undefined: unlimited. */
  readonly openFilesSoft: number | undefined;
  /** Bit n-1 is signal n, as field 33 of /proc/PID/stat. */
  readonly ignoredSignals: bigint;
  /** From 3 on, in the order of the numbers. */
  readonly descriptors: readonly number[];
}

const variable = 'HOLDFAST_LAUNCH';

/** Reads `SOFT:IGNORED:FD,FD,` (decimal, or `unlimited`) from the environment and removes it, so that the command does not see it. */
export function takeLaunchState(environment: NodeJS.ProcessEnv = process.env): LaunchState | undefined {
  const text = environment[variable];
  delete environment[variable];
  const parts = /^(\d+|unlimited):(\d{1,20}):((?:\d{1,9},)*)$/.exec(text ?? '');
  if (parts === null) return undefined;
  return {
    openFilesSoft: parts[1] === 'unlimited' ? undefined : Number(parts[1]),
    ignoredSignals: BigInt(parts[2] ?? 0),
    descriptors: (parts[3] ?? '')
      .split(',')
      .filter((number) => number !== '')
      .map(Number)
      .toSorted((a, b) => a - b),
  };
}

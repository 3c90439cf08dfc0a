/**
 * What Node changes before our first line runs, as the launcher (the shell lines at the top of the command)
 * saw it: the soft limit of open files, which Node raises, and the ignored signals, which it resets.
 */
export interface LaunchState {
  /** RLIMIT_NOFILE, soft; undefined: unlimited. */
  readonly openFilesSoft: number | undefined;
  /** Bit n-1 is signal n, as field 33 of /proc/PID/stat. */
  readonly ignoredSignals: bigint;
}

const variable = 'HOLDFAST_LAUNCH';

/** Reads `SOFT:IGNORED` (decimal, or `unlimited`) from the environment and removes it, so that the command does not see it. */
export function takeLaunchState(environment: NodeJS.ProcessEnv = process.env): LaunchState | undefined {
  const text = environment[variable];
  delete environment[variable];
  const parts = /^(\d+|unlimited):(\d{1,20})$/.exec(text ?? '');
  if (parts === null) return undefined;
  return {
    openFilesSoft: parts[1] === 'unlimited' ? undefined : Number(parts[1]),
    ignoredSignals: BigInt(parts[2] ?? 0),
  };
}

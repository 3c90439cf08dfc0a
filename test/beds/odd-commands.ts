/** Commands that do what daemons do: close descriptors, leave their session and their parent. */

/** A shell script, run by a shell that has no descriptor but 0, 1 and 2. Needs perl. */
export function closingDescriptors(script: string): [string, ...string[]] {
  const closeAll = 'use POSIX (); POSIX::close($_) for 3 .. 1023; exec "sh", "-c", $ARGV[0]';
  return ['perl', '-e', closeAll, script];
}

/** Shell text that runs a script in a session of its own, below nobody of this shell: setsid(2) and two forks. */
export function daemonizing(script: string): string {
  return `(setsid sh -c '${script}' &)`;
}

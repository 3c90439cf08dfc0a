/** A real guestfish under TCG, which needs no KVM and takes its time. */
import { start, type Running } from './command.js';
import { until } from './until.js';

/** A launch takes half a minute on two idle processors; the first one of a host also builds the appliance. */
const launchMsMax = 240_000;

/** libguestfs without libvirt and without KVM. */
export const guestfishEnvironment: NodeJS.ProcessEnv = {
  LIBGUESTFS_BACKEND: 'direct',
  LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg',
};

export const guestfishCommand = (path: string, format: 'raw' | 'qcow2'): [string, ...string[]] => [
  'guestfish',
  `--format=${format}`,
  '-a',
  path,
];

/** Starts a command that is or becomes a guestfish reading its standard input; returns when its appliance is up. */
export async function startGuestfish(program: string, args: readonly string[]): Promise<Running> {
  const guestfish = start(program, args, { env: guestfishEnvironment });
  guestfish.child.stdin?.write('run\nlist-devices\n');
  let over = false;
  const note = (): boolean => (over = true);
  guestfish.exited.then(note, note);
  await until(
    () => {
      if (guestfish.stdout.includes('/dev/sda')) return true;
      if (over) throw new Error(`guestfish ended: ${guestfish.stdout}${guestfish.stderr}`);
      return false;
    },
    () => `guestfish's appliance: ${guestfish.stdout}${guestfish.stderr}`,
    launchMsMax,
  );
  return guestfish;
}

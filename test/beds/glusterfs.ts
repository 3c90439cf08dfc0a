/**
 * A real GlusterFS volume, mounted twice: to the file system two hosts that share it.
 *
 * It lives in name spaces of its own (mounts, network, processes), so it meets no other GlusterFS, and ends as a whole
 * with the first process in there. Programs of the test are started inside.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { start, type Running, type StartOptions } from './command.js';
import { until } from './until.js';

/** A volume is made of several programs, and a busy machine takes its time. */
const startMsMax = 90_000;

export interface GlusterFs {
  /** The same volume twice. */
  readonly mounts: readonly [string, string];
  /** Starts a program that sees the mounts. */
  start(program: string, args: readonly string[], options?: StartOptions): Running;
  stop(): Promise<void>;
}

/** The first process: it starts everything, then waits for the children that nobody else waits for. */
const init = `
set -e
folder=$1
ip link set lo up
# GlusterFS refuses loopback addresses.
ip address add 10.77.99.1/32 dev lo
mount -t tmpfs tmpfs /run
mkdir -p /run/gluster
mount --bind "$folder/state" /var/lib/glusterd
mount --bind "$folder/log" /var/log/glusterfs
glusterd -N &
daemon=$!
until gluster --mode=script volume list; do kill -0 $daemon; sleep 0.1; done
gluster --mode=script volume create v1 "10.77.99.1:$folder/brick" force
gluster --mode=script volume start v1
for mount in one two; do mount -t glusterfs 10.77.99.1:/v1 "$folder/$mount"; done
touch "$folder/up"
while kill -0 $daemon; do sleep 1; done
`;

/** Starts it; throws with its log if it does not come up. Needs root, `unshare`, `nsenter` and GlusterFS. */
export async function startGlusterFs(parent: string): Promise<GlusterFs> {
  const folder = join(parent, 'gluster');
  for (const name of ['state', 'log', 'brick', 'one', 'two'])
    mkdirSync(join(folder, name), { recursive: true });
  const script = join(folder, 'init');
  writeFileSync(script, init);
  const spaces = ['-m', '-n', '-p', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'];
  const outside = spawn(
    'unshare',
    [...spaces, 'sh', '-c', 'exec sh "$1" "$2" >"$2/init.log" 2>&1', 'sh', script, folder],
    {
      stdio: 'ignore',
    },
  );
  const stop = async (): Promise<void> => {
    if (outside.exitCode !== null || outside.signalCode !== null) return;
    const gone = once(outside, 'exit');
    outside.kill('SIGKILL');
    await gone;
  };
  const log = (): string => readFileSync(join(folder, 'init.log'), 'utf8');
  try {
    await until(
      () => {
        if (outside.exitCode !== null) throw new Error(`GlusterFS did not start:\n${log()}`);
        return existsSync(join(folder, 'up'));
      },
      () => `GlusterFS:\n${log()}`,
      startMsMax,
    );
    const inside = firstChild(outside.pid ?? 0);
    return {
      mounts: [join(folder, 'one'), join(folder, 'two')],
      start: (program, args, options) =>
        start('nsenter', ['-t', String(inside), '-m', '-n', '-p', '--', program, ...args], options),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What `nsenter` or `unshare` has started; 0: nothing, or it has ended itself. */
export function firstChild(pid: number): number {
  try {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    return Number(child);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return 0;
    throw error;
  }
}

/**
 * All processes of a host, wherever they have detached themselves to: a control group (cgroups(7), version 2), which can be
 * frozen and killed as a whole, at once.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { until } from '../beds/until.js';

/** Where version 2 is mounted; undefined: nowhere that can be written. */
function controlGroups(): string | undefined {
  const line = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'));
  return line?.[1];
}

/** Why there can be none, as the `skip` option of a test takes it. */
export function lacksProcessGroups(): string | false {
  const root = controlGroups();
  if (root === undefined) return 'control groups version 2 are not mounted';
  const trial = join(root, `holdfast-trial-${process.pid}`);
  try {
    mkdirSync(trial);
    const can = existsSync(join(trial, 'cgroup.freeze')) && existsSync(join(trial, 'cgroup.kill'));
    rmdirSync(trial);
    return can ? false : 'the kernel cannot kill a control group (Linux 5.14)';
  } catch {
    return 'no control group can be made';
  }
}

export class ProcessGroup {
  readonly #folder: string;

  constructor(testFolder: string, name: string) {
    this.#folder = join(controlGroups() ?? '', `${basename(testFolder)}-${name}`);
    mkdirSync(this.#folder);
  }

  /** The words before a command that is to belong to it. */
  get enter(): readonly string[] {
    return ['sh', '-c', 'echo $$ >"$0" && exec "$@"', join(this.#folder, 'cgroup.procs')];
  }

  get pids(): readonly number[] {
    return readFileSync(join(this.#folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  }

  /** Returns when each of its processes stands still. */
  async freeze(): Promise<void> {
    this.#write('cgroup.freeze', '1');
    await until(
      () => readFileSync(join(this.#folder, 'cgroup.events'), 'utf8').includes('frozen 1'),
      'all processes to freeze',
    );
  }

  thaw(): void {
    this.#write('cgroup.freeze', '0');
  }

  /** SIGKILL for all at once: none of them sees another die. */
  kill(): void {
    this.#write('cgroup.kill', '1');
  }

  async remove(): Promise<void> {
    if (!existsSync(this.#folder)) return;
    this.thaw();
    this.kill();
    await until(() => this.pids.length === 0, 'the end of all processes of a host');
    rmdirSync(this.#folder);
  }

  #write(file: string, value: string): void {
    writeFileSync(join(this.#folder, file), value);
  }
}

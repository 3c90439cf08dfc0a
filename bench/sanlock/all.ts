/**
 * The figure of the driver sanlock, `npm run bench:sanlock`: a whole command that takes a free lease, by Holdfast and by sanlock itself,
 * against a start of Node. A real daemon of its own, on a real disk.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeLease, makeLockspace, startSanlock } from '../../test/beds/sanlock.js';
import { until } from '../../test/beds/until.js';
import { median } from '../measure.js';

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 31);
const holdfast = fileURLToPath(new URL('../../dist/command/holdfast', import.meta.url));
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const ms = (value: number): string => `${value.toFixed(1)} ms`.padStart(9);

/** What a command took, by the clock and of the processor: how long it waited for others is in the former alone. */
interface Times {
  readonly median: number;
  readonly least: number;
  /** Of the processor: the mean, since the kernel tells it in hundredths of a second. */
  readonly processor: number;
}

/** Milliseconds of the processor that the children of this process have had, and theirs (proc_pid_stat(5), cutime and cstime). */
function childrenMs(): number {
  const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

/** Each command is run once in every round; the first round does not count. `ready`: what is not measured before each. */
async function inTurn<Name extends string>(
  commands: Readonly<Record<Name, readonly string[]>>,
  env: NodeJS.ProcessEnv,
  ready: () => Promise<void>,
): Promise<Readonly<Record<Name, Times>>> {
  const names = Object.keys(commands) as Name[];
  const times = new Map<Name, number[]>(names.map((name) => [name, []]));
  const processor = new Map<Name, number>();
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const [program = '', ...words] = commands[name];
      await ready();
      const before = childrenMs();
      const start = performance.now();
      execFileSync(program, words, { env, stdio: ['ignore', 'ignore', 'inherit'] });
      const took = performance.now() - start;
      if (round === 0) continue;
      times.get(name)?.push(took);
      processor.set(name, (processor.get(name) ?? 0) + childrenMs() - before);
    }
  }
  const figures = names.map((name) => {
    const all = times.get(name) ?? [];
    const mean = (processor.get(name) ?? 0) / rounds;
    return [name, { median: median(all), least: Math.min(...all), processor: mean }];
  });
  return Object.fromEntries(figures) as Record<Name, Times>;
}

const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-sanlock-'));
try {
  const file = await makeLockspace(join(folder, 'leases'), 'bench');
  const { lease } = await makeLease(file, 0);
  const host = await startSanlock(folder, 'bench');
  try {
    await host.join(file, 1);
    const place = `bench:${lease?.key}:${file.path}:${lease?.offset}`;
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      ...host.env,
      PATH: `${process.env['PATH']}:/usr/sbin`,
      HOLDFAST_RUNTIME_DIR: join(folder, 'run'),
    };
    // Node reads every certificate of that file at its start, which has nothing to do with what is measured.
    delete env['NODE_EXTRA_CA_CERTS'];
    const disk = join(folder, 'disk.img');
    writeFileSync(disk, '');
    const { ours, sanlock, node, kernel } = await inTurn(
      {
        ours: [holdfast, 'run', '--driver=sanlock', `--lease=${place}`, '--', '/bin/true'],
        sanlock: ['sanlock', 'client', 'command', '-r', place, '-c', '/bin/true'],
        node: [process.execPath, '-e', '0'],
        kernel: [holdfast, 'run', `--disk=${disk}`, '--', '/bin/true'],
      },
      env,
      // The daemon gives a lease back a moment after its command has ended.
      () => until(async () => !/^r /m.test(await host.client('status')), 'the lease to be free'),
    );
    say(
      `${cpus().length} processors, load ${loadavg()
        .map((one) => one.toFixed(1))
        .join(' ')}, ${rounds} rounds: the median, the fastest, and of the processor`,
    );
    const row = (what: string, { median: usual, least, processor }: Times): void =>
      say(`${what.padEnd(38)} ${ms(usual)} ${ms(least)} ${ms(processor)}`);
    row('holdfast run --driver sanlock -- true', ours);
    row('sanlock client command ... -c true', sanlock);
    row('a start of Node', node);
    row('holdfast run --driver fcntl -- true', kernel);
    for (const [kind, words] of [
      ['median', 'by the clock'],
      ['processor', 'of the processor'],
    ] as const) {
      const starts = ((ours[kind] - sanlock[kind]) / node[kind]).toFixed(2);
      say(`more than sanlock's own, ${words}: ${starts} starts of Node, goal: at most 1`);
    }
  } finally {
    await host.stop();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

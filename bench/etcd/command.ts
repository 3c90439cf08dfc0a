/** The whole command, `holdfast run --driver etcd -- true`, against `etcdctl lock NAME true` and the start of Node. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from '../measure.js';

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 21);
const holdfast = fileURLToPath(new URL('../../dist/command/holdfast', import.meta.url));

export interface CommandFigures {
  /** Milliseconds, medians. */
  readonly run: number;
  readonly etcdctl: number;
  readonly node: number;
}

/** Needs what `npm run build` makes. */
export function commandFigures(folder: string, endpoints: readonly string[]): CommandFigures {
  const configuration = join(folder, 'holdfast.toml');
  const disk = join(folder, 'disk.img');
  writeFileSync(
    configuration,
    `drivers = ["etcd"]\n[driver.etcd]\nendpoints = ["${endpoints.join('", "')}"]\n`,
  );
  writeFileSync(disk, '');
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    ETCDCTL_API: '3',
    HOLDFAST_RUNTIME_DIR: join(folder, 'run'),
  };
  // Node reads every certificate of that file at its start, which has nothing to do with what is measured.
  delete env['NODE_EXTRA_CA_CERTS'];
  const commands: Readonly<Record<keyof CommandFigures, readonly string[]>> = {
    run: [holdfast, 'run', '--config', configuration, '--disk', disk, '--', 'true'],
    etcdctl: ['etcdctl', '--endpoints', endpoints.join(','), 'lock', 'bench', 'true'],
    node: [process.execPath, '-e', '0'],
  };
  const times: Readonly<Record<keyof CommandFigures, number[]>> = { run: [], etcdctl: [], node: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const name of ['run', 'etcdctl', 'node'] as const) {
      const [program = '', ...words] = commands[name];
      const start = performance.now();
      execFileSync(program, words, { env, stdio: ['ignore', 'ignore', 'ignore'] });
      if (round > 0) times[name].push(performance.now() - start);
    }
  }
  return { run: median(times.run), etcdctl: median(times.etcdctl), node: median(times.node) };
}

/** `holdfast run --disk F -- true` as a whole process, against an empty Node process. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inTurn, type Figure } from './measure.js';

const command = fileURLToPath(new URL('../dist/command/holdfast', import.meta.url));
const rounds = 40;

export async function startFigures(folder: string): Promise<Figure[]> {
  const disk = join(folder, 'start.img');
  writeFileSync(disk, '');
  // Node 20 reads such a file at every start, which takes longer than all the rest.
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const start = (program: string, args: readonly string[]) => (): void => {
    const { status, error } = spawnSync(program, args, { stdio: 'ignore', env });
    if (status !== 0) throw new Error(`${program} ended with ${status}`, { cause: error });
  };
  const run = start(command, ['run', '--disk', disk, '--', 'true']);
  const node = start(process.execPath, ['-e', '0']);
  const [a, b] = await inTurn(run, node, rounds);
  return [
    {
      what: 'holdfast run --disk F -- true',
      against: 'node -e 0',
      median: a,
      medianAgainst: b,
      unit: 'ms',
      goal: 'at most 1.5 times',
    },
  ];
}

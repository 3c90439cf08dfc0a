/**
 * Who has a disk open, on a host with 500 processes and 20,000 descriptors: in a running process and as a whole command,
 * against lsof; and what it costs to be refused, which is the same look.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as Library from '../src/index.js';
import { inTurn, type Figure } from './measure.js';

const command = fileURLToPath(new URL('../dist/command/holdfast', import.meta.url));
const processes = 500;
const descriptors = 20_000;
const rounds = 15;

export async function whoFigures(folder: string, { openManager }: typeof Library): Promise<Figure[]> {
  const disk = join(folder, 'who.img');
  writeFileSync(disk, '');
  const fleet = await startFleet(folder, disk);
  try {
    // Node 20 reads such a file at every start, which takes longer than all the rest.
    const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
    const run = (program: string, args: readonly string[], expected: number) => (): void => {
      const { status, error } = spawnSync(program, args, { stdio: 'ignore', env });
      if (status !== expected) throw new Error(`${program} ended with ${status}`, { cause: error });
    };
    const lsof = run('lsof', [disk], 0);
    const node = run(process.execPath, ['-e', '0'], 0);
    const whole = run(command, ['who', disk], 0);
    const refused = run(command, ['run', '--disk', disk, '--', 'true'], 75);

    await using manager = openManager({});
    const inProcess = async (): Promise<void> => {
      const [use] = await manager.who({ disks: [{ path: disk }] });
      if (use?.holders.length !== 1) throw new Error(`${use?.holders.length} holders found, not one`);
    };
    const [own, ofLsof] = await inTurn(inProcess, lsof, rounds);
    const lsofThenNode = (): void => {
      lsof();
      node();
    };
    const [ofWhole, ofBoth] = await inTurn(whole, lsofThenNode, rounds);
    const [ofRefused, ofNode] = await inTurn(refused, node, rounds);
    return [
      {
        what: `who F in a running process, ${processes} processes, ${descriptors} descriptors`,
        against: 'lsof F',
        median: own,
        medianAgainst: ofLsof,
        unit: 'ms',
        goal: 'at most 0.6 times',
      },
      {
        what: 'holdfast who F, the same host',
        against: 'lsof F, then node -e 0',
        median: ofWhole,
        medianAgainst: ofBoth,
        unit: 'ms',
        goal: 'at most 1 time',
      },
      {
        what: 'holdfast run --disk F -- true, refused, the same host',
        against: 'node -e 0',
        median: ofRefused,
        medianAgainst: ofNode,
        unit: 'ms',
        goal: 'none: to be watched',
      },
    ];
  } finally {
    for (const child of fleet) child.kill('SIGKILL');
    await Promise.all(fleet.map((child) => once(child, 'exit')));
  }
}

/** Programs that sleep, each with as many files open; one of them has the disk, and the lock on it. */
async function startFleet(folder: string, disk: string): Promise<ChildProcess[]> {
  const names = Array.from({ length: descriptors / processes - 3 }, (_, n) => join(folder, `open-${n}`));
  const fds = names.map((path) => openSync(path, 'a'));
  const fleet = Array.from({ length: processes - 1 }, () =>
    spawn('sleep', ['900'], { stdio: ['ignore', 'ignore', 'ignore', ...fds] }),
  );
  await Promise.all(fleet.map((child) => once(child, 'spawn')));
  for (const fd of fds) closeSync(fd);
  const held = ['run', '--disk', disk, '--', 'sh', '-c', 'echo held; exec sleep 900'];
  const holder = spawn(command, held, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  return [...fleet, holder];
}

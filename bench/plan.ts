/** Plans of a domain with many disks, warm: XML to verdicts. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readDomainXml } from '../src/input/read-input.js';
import { makePlan } from '../src/plan/make-plan.js';
import { inTurn, type Figure } from './measure.js';

/** A domain with `count` disks, all of them there. */
export function domainXml(folder: string, count: number): string {
  const disks = Array.from({ length: count }, (_, n) => {
    const path = join(folder, `disk-${n}.img`);
    writeFileSync(path, '');
    return `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${path}'/><target dev='vd${n}'/></disk>`;
  });
  return `<domain type='qemu'><name>many</name><uuid>11111111-2222-4333-8444-555555555555</uuid><devices>${disks.join('\n')}</devices></domain>`;
}

export async function planFigures(folder: string): Promise<Figure[]> {
  const [small, large] = [domainXml(folder, 50), domainXml(folder, 1_000)];
  const planOf = (xml: string) => (): unknown => makePlan(readDomainXml(xml));
  await inTurn(planOf(small), planOf(large), 20);
  const [fifty, thousand] = await inTurn(planOf(small), planOf(large), 30);
  return [
    {
      what: 'plan 50 disks from XML',
      against: 'a twentieth of 1,000 disks',
      median: fifty,
      medianAgainst: thousand / 20,
      unit: 'ms',
      goal: 'at most 10 ms, and a ratio near 1: it grows linearly',
    },
  ];
}

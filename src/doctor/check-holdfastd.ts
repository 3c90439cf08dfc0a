/** holdfastd: whether it runs, and whether virtlockd does beside it. */
import { basename } from 'node:path';
import type { ProcessInfo } from '../system/process.js';
import { finding, type Finding } from './finding.js';
import type { Host } from './host.js';

export function checkHoldfastd(host: Host): Finding[] {
  const daemon = holdfastdOf(host);
  if (daemon === undefined) return [finding('holdfastd-absent', { what: 'holdfastd does not run' })];
  const evidence = [`holdfastd has pid ${daemon.pid}`];
  const other = host.processes.find((one) => isVirtlockd(one) && one.uid === daemon.uid);
  return [
    finding('holdfastd-running', { what: 'holdfastd runs', evidence }),
    ...(other === undefined
      ? []
      : [
          finding('lock-daemons-both', {
            what: 'virtlockd and holdfastd run both',
            evidence: [...evidence, `virtlockd has pid ${other.pid}`],
          }),
        ]),
  ];
}

/** The system's, or this user's own. Of its two processes the first one that is found. */
export function holdfastdOf(host: Host): ProcessInfo | undefined {
  return host.processes.find((one) => isHoldfastd(one) && (one.uid === 0 || one.uid === host.uid));
}

/** By its command line: the program is Node, and the script `holdfastd`, or `holdfast serve` until it has become that. */
function isHoldfastd({ argv }: ProcessInfo): boolean {
  const [program = '', script = ''] = argv;
  return [program, script].some((word) => /^holdfastd(?:\.js)?$/.test(basename(word)));
}

function isVirtlockd({ exe, argv, comm }: ProcessInfo): boolean {
  return (exe ?? basename(argv[0] ?? comm)) === 'virtlockd';
}

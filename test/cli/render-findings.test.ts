import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderFindings } from '../../src/cli/commands/doctor.js';
import { noStyle } from '../../src/cli/style.js';
import type { Finding } from '../../src/index.js';

const problem: Finding = {
  id: 'locks-missing',
  level: 'problem',
  subject: '/mnt/a\u001B[2J\n.img',
  what: 'locks do not work here',
  why: 'Two programs would both be told that the disk is theirs.',
  remedy: 'Keep disks elsewhere.',
  evidence: ['ENOLCK: no locks available, fcntl'],
};
const fine: Finding = {
  id: 'leases-on',
  level: 'fine',
  what: 'the kernel grants file leases',
  why: 'A file lease tells it in microseconds.',
  evidence: ['fs.leases-enable = 1'],
};

test('what, why, what to do, and the counts', () => {
  assert.equal(
    renderFindings([problem, fine], noStyle),
    `problem: /mnt/a\\u{1b}[2J\\u{a}.img: locks do not work here [locks-missing]
  because   Two programs would both be told that the disk is theirs.
  try       Keep disks elsewhere.

1 problem, 0 warnings, 0 notes; 1 thing is as it should be.
`,
  );
});

test('--verbose shows what is fine, in one line each, and the evidence', () => {
  assert.equal(
    renderFindings([problem, fine, fine], noStyle, true),
    `problem: /mnt/a\\u{1b}[2J\\u{a}.img: locks do not work here [locks-missing]
  because   Two programs would both be told that the disk is theirs.
  try       Keep disks elsewhere.
  evidence  ENOLCK: no locks available, fcntl

fine: the kernel grants file leases [leases-on]
  evidence  fs.leases-enable = 1
fine: the kernel grants file leases [leases-on]
  evidence  fs.leases-enable = 1
1 problem, 0 warnings, 0 notes; 2 things are as they should be.
`,
  );
});

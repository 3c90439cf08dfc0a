/** A host out of files: trees that look like /proc and /etc, for the checks to read. */
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Host } from '../../src/doctor/host.js';
import type { Finding } from '../../src/doctor/finding.js';

export interface RecordedProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly uid?: number;
  /** Clock ticks after boot. */
  readonly start?: number;
  /** By descriptor: what it leads to, its flags (octal), and lines of locks. */
  readonly fds?: Readonly<Record<number, { to: string; flags?: string; locks?: readonly string[] }>>;
}

export interface Recorded {
  /** By path below /etc. */
  readonly etc?: Readonly<Record<string, string>>;
  /** By path below /proc. */
  readonly proc?: Readonly<Record<string, string>>;
  readonly processes?: readonly RecordedProcess[];
  readonly uid?: number;
  /** The pid namespace is not the host's first. */
  readonly contained?: boolean;
  readonly runtimeDirectory?: string;
}

/** The seconds since 1970 at which the recorded hosts booted. */
export const bootSeconds = 1_700_000_000;

const rootMount = '25 1 8:1 / / rw - ext4 /dev/sda1 rw';

export function recordedHost(folder: string, recorded: Recorded = {}): Host {
  const root = mkdtempSync(join(folder, 'host-'));
  const roots = { proc: join(root, 'proc'), sys: join(root, 'sys'), etc: join(root, 'etc') };
  for (const path of Object.values(roots)) mkdirSync(path);
  const write = (base: string, files: Readonly<Record<string, string>>): void => {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(base, name)), { recursive: true });
      writeFileSync(join(base, name), text);
    }
  };
  write(roots.etc, { 'machine-id': `${'3d12'.repeat(8)}\n`, ...recorded.etc });
  write(roots.proc, {
    stat: `cpu 1 2 3\nbtime ${bootSeconds}\n`,
    'sys/kernel/osrelease': '6.1.0-18-amd64\n',
    'sys/fs/leases-enable': '1\n',
    'net/unix': 'Num       RefCount Protocol Flags    Type St Inode Path\n',
    'self/mountinfo': `${rootMount}\n`,
    ...recorded.proc,
  });
  mkdirSync(join(roots.proc, 'self/ns'), { recursive: true });
  symlinkSync(
    `pid:[${recorded.contained === true ? 4026532201 : 4026531836}]`,
    join(roots.proc, 'self/ns/pid'),
  );
  for (const process of recorded.processes ?? []) writeProcess(roots.proc, process);
  return new Host(roots, recorded.uid ?? 0, recorded.runtimeDirectory ?? join(root, 'run'));
}

function writeProcess(proc: string, { pid, argv, uid = 0, start = 100, fds = {} }: RecordedProcess): void {
  const folder = join(proc, String(pid));
  for (const name of ['fd', 'fdinfo']) mkdirSync(join(folder, name), { recursive: true });
  const program = argv[0] ?? '';
  const fields = ['S', '1', ...Array.from({ length: 17 }, () => '0'), start, '0'].join(' ');
  writeFileSync(join(folder, 'stat'), `${pid} (${program.slice(-15).replace(/.*\//, '')}) ${fields}\n`);
  writeFileSync(join(folder, 'status'), `Name:\tx\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n`);
  writeFileSync(join(folder, 'cmdline'), argv.map((one) => `${one}\0`).join(''));
  symlinkSync(program, join(folder, 'exe'));
  symlinkSync('/', join(folder, 'root'));
  symlinkSync('/', join(folder, 'cwd'));
  for (const [fd, { to, flags = '02100002', locks = [] }] of Object.entries(fds)) {
    symlinkSync(to, join(folder, 'fd', fd));
    const lines = locks.map((lock, index) => `lock:\t${index + 1}: ${lock}\n`).join('');
    writeFileSync(join(folder, 'fdinfo', fd), `pos:\t0\nflags:\t${flags}\nmnt_id:\t27\n${lines}`);
  }
}

/** The ids of findings, in their order. */
export function ids(findings: readonly Finding[]): string[] {
  return findings.map(({ id }) => id);
}

/** The only finding of that id. */
export function only(findings: readonly Finding[], id: string): Finding {
  const found = findings.filter((one) => one.id === id);
  if (found.length !== 1 || found[0] === undefined) {
    throw new Error(`${found.length} findings ${id}, not one, among ${ids(findings).join(', ')}`);
  }
  return found[0];
}

/**
 * An outside process that tries all the time to take disks which others hold: it waits in the kernel for the write lock of
 * byte 0, and so gets a disk in whatever short moment nobody has it.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { start, type Running } from './command.js';
import { until } from './until.js';

/**
 * A process for each disk. What it gets it gives back at once, and then it waits until somebody else has the disk before it
 * tries again. A taken disk is told of with what the table said, read before it was given back.
 */
const program = `
use strict;
my ($table, @disks) = @ARGV;
my ($OFD_GETLK, $OFD_SETLK, $OFD_SETLKW) = (36, 37, 38);
my ($READ, $WRITE, $NONE) = (0, 1, 2);
sub flock_of { pack 'ssx4qqlx4', $_[0], 0, 0, 1, 0 }
my @children;
for my $index (0 .. $#disks) {
  my $child = fork;
  push @children, $child;
  next if $child;
  open my $disk, '+<', $disks[$index] or die "$disks[$index]: $!";
  open my $held, '<', $table or die "$table: $!";
  while (1) {
    while (1) {
      my $found = flock_of($WRITE);
      fcntl $disk, $OFD_GETLK, $found or die "F_OFD_GETLK: $!";
      last if unpack('s', $found) != $NONE;
      select undef, undef, undef, 0.02;
    }
    syswrite STDOUT, "waits $index\\n";
    fcntl $disk, $OFD_SETLKW, flock_of($WRITE) or die "F_OFD_SETLKW: $!";
    sysseek $held, $index, 0;
    sysread $held, my $said, 1;
    fcntl $disk, $OFD_SETLK, flock_of($NONE) or die "F_OFD_SETLK: $!";
    syswrite STDOUT, "took $index $said\\n";
  }
}
$SIG{TERM} = sub { kill 'KILL', @children; exit };
sleep 1 while 1;
`;

export class DiskTaker {
  readonly #running: Running;
  readonly #disks: readonly string[];
  readonly #table: number;
  #stopped = false;

  private constructor(running: Running, disks: readonly string[], table: number) {
    this.#running = running;
    this.#disks = disks;
    this.#table = table;
  }

  /** `folder`: for its files. Each disk is held at first, or will be soon. Needs `perl`. */
  static start(folder: string, disks: readonly string[]): DiskTaker {
    const path = join(folder, `held-${crypto.randomUUID()}`);
    const table = openSync(path, 'wx');
    writeSync(table, 'n'.repeat(disks.length));
    return new DiskTaker(start('perl', ['-e', program, path, ...disks]), disks, table);
  }

  /** Whether this disk is held for certain: then to take it is a violation. */
  mark(disk: string, held: boolean): void {
    writeSync(this.#table, held ? 'y' : 'n', this.#disks.indexOf(disk));
  }

  /** Returns when it waits for each of them. */
  async untilWaiting(): Promise<void> {
    await until(
      () => this.#disks.every((_, index) => this.#running.stdout.includes(`waits ${index}\n`)),
      () => `the taker to meet every lock: ${this.#running.stdout}${this.#running.stderr}`,
    );
  }

  /** Disks that it took, in their order. */
  get taken(): string[] {
    return this.#entries(/^took (?<index>\d+) /gm);
  }

  /** Disks that it took while they were held for certain. */
  get violations(): string[] {
    return this.#entries(/^took (?<index>\d+) y$/gm);
  }

  #entries(pattern: RegExp): string[] {
    if (this.#running.stderr !== '') throw new Error(this.#running.stderr);
    return [...this.#running.stdout.matchAll(pattern)].map(
      ({ groups }) => this.#disks[Number(groups?.['index'])] ?? '',
    );
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#running.child.kill('SIGTERM');
    await this.#running.exited;
    closeSync(this.#table);
  }
}

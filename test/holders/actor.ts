/** Other processes for the tests: small Node programs and QEMUs that hold what the test wants to find. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { deviceName, inodeOf } from '../../src/system/inode.js';
import type { Resource } from '../../src/vocabulary.js';

export interface Actor extends AsyncDisposable {
  readonly pid: number;
  readonly child: ChildProcess;
  /** What it printed until it was ready. */
  readonly output: string;
}

const prelude = `
import fs from 'node:fs';
import { createRequire } from 'node:module';
const koffi = createRequire(${JSON.stringify(import.meta.url)})('koffi');
const libc = koffi.load('libc.so.6');
const fcntl = libc.func('int fcntl(int, int, void *)');
const flock = libc.func('int flock(int, int)');
const socketpair = libc.func('int socketpair(int, int, int, void *)');
const sendmsg = libc.func('long sendmsg(int, void *, int)');
const mmap = libc.func('void *mmap(void *, size_t, int, int, int, long)');
/** kind: 6 is F_SETLK, 37 is F_OFD_SETLK. type: 0 read, 1 write. length 0: to the end. */
function lock(fd, kind, type, start, length) {
  const range = Buffer.alloc(32);
  range.writeInt16LE(type, 0);
  range.writeBigInt64LE(BigInt(start), 8);
  range.writeBigInt64LE(BigInt(length), 16);
  if (fcntl(fd, kind, range) !== 0) throw new Error('not locked');
}
/** Puts a descriptor on its way through a socket (unix(7), SCM_RIGHTS), where it is open and no process shows it. */
function hide(fd) {
  const [ends, byte, vector, control, message] = [8, 1, 16, 24, 56].map((bytes) => Buffer.alloc(bytes));
  if (socketpair(1, 1, 0, ends) !== 0) throw new Error('no sockets');
  vector.writeBigUInt64LE(BigInt(koffi.address(byte)), 0);
  vector.writeBigUInt64LE(1n, 8);
  control.writeBigUInt64LE(20n, 0);
  control.writeInt32LE(1, 8);
  control.writeInt32LE(1, 12);
  control.writeInt32LE(fd, 16);
  message.writeBigUInt64LE(BigInt(koffi.address(vector)), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(BigInt(koffi.address(control)), 32);
  message.writeBigUInt64LE(24n, 40);
  if (sendmsg(ends.readInt32LE(0), message, 0) !== 1) throw new Error('not sent');
  fs.closeSync(fd);
}
const POSIX = 6, OFD = 37, READ = 0, WRITE = 1;
// Ends with the test, whatever happens to it.
process.stdin.on('end', () => process.exit()).resume();
`;

/** Runs Node code (ESM) in a process of its own until disposed; returns when it printed `ready`. */
export async function startActor(code: string, args: readonly string[] = []): Promise<Actor> {
  const source = `${prelude}\n${code}\nfs.writeSync(1, 'ready\\n');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source, '--', ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return started(child, 'ready');
}

/** A QEMU under TCG that never runs its guest, with one raw disk. */
export async function startQemu(disk: string, more: readonly string[] = [], drive = ''): Promise<Actor> {
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...'-display none -m 64 -S -accel tcg -nodefaults -qmp stdio -device virtio-blk-pci,drive=d'.split(' '),
      '-drive',
      `file=${disk},if=none,format=raw,id=d${drive}`,
      ...more,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  // Answered only when the machine, its disks and their locks are there; the greeting comes before.
  child.stdin.write('{"execute":"qmp_capabilities"}\n');
  return started(child, '"return"');
}

/** Any other program that prints a word when it is ready. */
export async function startProgram(
  program: string,
  args: readonly string[],
  readyWord: string,
): Promise<Actor> {
  return started(spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] }), readyWord);
}

async function started(child: ChildProcess, readyWord: string): Promise<Actor> {
  const exit = once(child, 'exit');
  const actor = (output: string): Actor => ({
    pid: child.pid ?? 0,
    child,
    output,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exit;
    },
  });
  let output = '';
  for await (const chunk of child.stdout?.iterator({ destroyOnReturn: false }) ?? []) {
    output += String(chunk);
    if (!output.includes(readyWord)) continue;
    // It may write more: nobody may block it, or end it with a closed pipe.
    child.stdout?.resume();
    return actor(output);
  }
  await exit;
  throw new Error(`${child.spawnfile} ended before it was ready: ${output}`);
}

/** A regular file, or a block device, as a plan would have it. */
export function resourceAt(path: string, more: Partial<Resource> = {}): Resource {
  const stats = statSync(path, { bigint: true });
  const block = stats.isBlockDevice();
  return {
    kind: 'disk',
    identity: path,
    label: path,
    storage: block ? 'block' : 'file',
    scope: 'host',
    path,
    inode: inodeOf(stats),
    ...(block ? { device: deviceName(stats.rdev) } : {}),
    ...more,
  };
}

/** Code for an actor: a thread that has a file open in a table of descriptors of its own. */

export interface ThreadOptions {
  readonly path: string;
  readonly flags: 'r' | 'r+';
  /** The main thread ends once the other one has the file open; then the table may be the common one. */
  readonly mainEnds: boolean;
}

/** For `startActor`. */
export function threadWithTable({ path, flags, mainEnds }: ThreadOptions): string {
  const worker = `
    const fs = require('node:fs');
    const libc = require(${JSON.stringify(import.meta.resolve('koffi').slice('file://'.length))}).load('libc.so.6');
    // CLONE_FILES
    if (!${mainEnds} && libc.func('int unshare(int)')(0x400) !== 0) throw new Error('not unshared');
    fs.openSync(${JSON.stringify(path)}, ${JSON.stringify(flags)});
    require('node:worker_threads').parentPort.postMessage('open');
    // It cannot be told to end any more; a minute is longer than any test.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
    libc.func('void _exit(int)')(0);`;
  return `
    const { Worker } = await import('node:worker_threads');
    const worker = new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [] });
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    ${mainEnds ? endMainThread : ''}`;
}

/** exit(2), not exit_group(2): of this thread alone. */
const endMainThread = `
    fs.writeSync(1, 'ready\\n');
    const SYS_exit = process.arch === 'x64' ? 60 : 93;
    libc.func('long syscall(long, long)')(SYS_exit, 0);`;

/** A command to a QEMU over its machine protocol (qemu.readthedocs.io, "QEMU Machine Protocol Specification"). */
import { createConnection } from 'node:net';

/** The socket serves one after another: where somebody else is connected nothing is said at all. */
const greeting = 'QMP';

interface Message {
  readonly [greeting]?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly desc?: string };
  readonly event?: string;
}

/** Whether QEMU has done it within `waitMs`. Never throws. */
export function tellQemu(path: string, command: 'stop' | 'cont', waitMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    const end = (done: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(done);
    };
    const timer = setTimeout(() => end(false), waitMs);
    const say = (execute: string): void => void socket.write(`${JSON.stringify({ execute })}\n`);
    const wanted = ['qmp_capabilities', command];
    let said = '';
    socket.setEncoding('utf8');
    socket.on('error', () => end(false));
    socket.on('close', () => end(false));
    socket.on('data', (text: string) => {
      const lines = (said + text).split('\n');
      said = lines.pop() ?? '';
      for (const line of lines) {
        const message = parse(line);
        if (message === undefined || message.error !== undefined) return end(false);
        if (message[greeting] === undefined && message.return === undefined) continue;
        const next = wanted.shift();
        if (next === undefined) return end(true);
        say(next);
      }
    });
  });
}

function parse(line: string): Message | undefined {
  try {
    return JSON.parse(line) as Message;
  } catch {
    return undefined;
  }
}

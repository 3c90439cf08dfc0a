/** A way to a server that can be cut between a request and its answer. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface CutProxy {
  /** `http://127.0.0.1:PORT`. */
  readonly endpoint: string;
  /** The next connection that sends `text` is cut when the server has had time to do what it was asked, and hears nothing more. */
  cutAfter(text: string, whenCut?: () => void): void;
  /** Whether it lets anybody through. */
  open: boolean;
  /** How often that has come about. */
  readonly cuts: number;
  close(): void;
}

/** A server does what it is asked in some milliseconds; the tests hold as well where it has not by then. */
const workMs = 200;

export async function startCutProxy(server: string): Promise<CutProxy> {
  const { hostname, port } = new URL(server);
  let text: string | undefined;
  let told: (() => void) | undefined;
  let cuts = 0;
  const sockets = new Set<Socket>();
  let open = true;
  const proxy = createServer((from) => {
    if (!open) return void from.destroy();
    const to = connect(Number(port), hostname);
    let silent = false;
    const end = (): void => {
      for (const one of [from, to]) {
        one.destroy();
        sockets.delete(one);
      }
    };
    for (const one of [from, to]) {
      sockets.add(one);
      one.on('error', end).on('close', end);
    }
    from.on('data', (bytes: Buffer) => {
      to.write(bytes);
      if (text === undefined || !bytes.includes(text)) return;
      text = undefined;
      silent = true;
      cuts += 1;
      told?.();
      setTimeout(end, workMs);
    });
    to.on('data', (bytes: Buffer) => silent || from.write(bytes));
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  return {
    endpoint: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    cutAfter: (wanted, whenCut) => {
      text = wanted;
      told = whenCut;
    },
    get open() {
      return open;
    },
    set open(isOpen) {
      open = isOpen;
    },
    get cuts() {
      return cuts;
    },
    close: () => {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A client of the daemon's API that does what the test says, and believes nothing. */
import { request, type ClientRequest, type IncomingMessage } from 'node:http';

export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
  /** Of an empty answer: undefined. */
  // oxlint-disable-next-line typescript/no-explicit-any -- whatever the daemon says is compared as it is
  readonly data: any;
}

export class ApiClient {
  readonly socket: string;

  constructor(socket: string) {
    this.socket = socket;
  }

  /** The answer, whatever its status; throws where the connection ends before. */
  async ask(method: string, path: string, body?: unknown): Promise<ApiAnswer> {
    const sent = this.send(method, path, body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      sent.once('response', resolve);
      sent.once('error', reject);
    });
    const text = await textOf(response);
    const isJson = response.headers['content-type']?.startsWith('application/json') === true;
    const data: unknown = isJson && text !== '' ? JSON.parse(text) : undefined;
    return { status: response.statusCode ?? 0, text, data };
  }

  get(path: string): Promise<ApiAnswer> {
    return this.ask('GET', path);
  }

  post(path: string, body: unknown): Promise<ApiAnswer> {
    return this.ask('POST', path, body);
  }

  /** A request whose answer is the caller's. */
  send(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): ClientRequest {
    const bytes = typeof body === 'string' ? body : body === undefined ? undefined : JSON.stringify(body);
    const sent = request({
      socketPath: this.socket,
      method,
      path,
      agent: false,
      headers: { ...(bytes === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    });
    sent.end(bytes);
    return sent;
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

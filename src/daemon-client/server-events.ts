/** Reads server-sent events (html.spec.whatwg.org, "Server-sent events"), of which only `event` and `data` are used. */

export interface ServerEvent {
  /** `message`, where the server says nothing else. */
  readonly event: string;
  readonly data: string;
}

/** A hold of 4,096 disks with long paths is some 4 MiB. */
const eventBytesMax = 16 * 1024 * 1024;

/** Gives each event as soon as it is whole. Throws if one is too large, and what the stream throws. */
export async function* serverEvents(stream: AsyncIterable<Buffer>): AsyncGenerator<ServerEvent, void> {
  const decoder = new TextDecoder('utf-8');
  let rest = '';
  let event = '';
  let data: string[] = [];
  for await (const bytes of stream) {
    rest += decoder.decode(bytes, { stream: true });
    if (rest.length > eventBytesMax) throw new Error('an event of more than 16 MiB');
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { event: event === '' ? 'message' : event, data: data.join('\n') };
        event = '';
        data = [];
        continue;
      }
      const [, field, value = ''] = /^(?<field>[^:]*)(?:: ?(?<value>.*))?$/s.exec(line) ?? [];
      if (field === 'event') event = value;
      else if (field === 'data') data.push(value);
    }
  }
}

/** `who --watch`: a view on a terminal, or one line for each event elsewhere, until somebody has seen enough. */
import { constants } from 'node:os';
import { isReaderGone, type GuestParts, type Manager, type ResourceUse } from '../index.js';
import { LiveView } from './live-view.js';
import { renderSince } from './render-time.js';
import { renderUse } from './render-use.js';
import { styleFor } from './style.js';
import { eventData, renderEvent, useEvents } from './use-events.js';
import { writeOut } from './write.js';

const stdout = 1;
/** How soon it is noticed that nobody reads any longer, while there is nothing to write. */
const readerMs = 1_000;
/** The last ones; there may be room for them below the holders. */
const eventsShown = 10;
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What ends a watch, and with which status: 128+N after a signal, as everywhere. */
class Ending {
  readonly #controller = new AbortController();
  status = 0;

  constructor() {
    for (const name of signals) process.on(name, this.#signalled);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  readonly #signalled = (name: NodeJS.Signals): void => this.now(128 + constants.signals[name]);

  now(status: number): void {
    if (!this.signal.aborted) this.status = status;
    this.#controller.abort();
  }

  over(): void {
    for (const name of signals) process.off(name, this.#signalled);
  }
}

/** One line for each event, to whatever stdout is. Gives the exit status. */
export async function watchLines(manager: Manager, input: GuestParts, json: boolean): Promise<number> {
  const ending = new Ending();
  const reader = setInterval(() => {
    if (isReaderGone(stdout)) ending.now(0);
  }, readerMs);
  let before: readonly ResourceUse[] | undefined;
  try {
    for await (const uses of manager.watch(input, { signal: ending.signal })) {
      const text = useEvents(before, uses).map((event) => (json ? eventData(event) : renderEvent(event)));
      before = uses;
      if (!writeOut(text.join(''))) ending.now(0);
    }
    return ending.status;
  } finally {
    clearInterval(reader);
    ending.over();
  }
}

/** A view that is drawn anew when something changes; the last one stays on the terminal. Gives the exit status. */
export async function watchLive(manager: Manager, input: GuestParts, verbose: boolean): Promise<number> {
  const ending = new Ending();
  const style = styleFor(stdout);
  const since = renderSince(new Date().toISOString());
  const events: string[] = [];
  let uses: readonly ResourceUse[] | undefined;
  const blocks = (): string[] =>
    (uses ?? []).flatMap((use) => renderUse(use, { style, verbose }).trimEnd().split('\n'));
  const lines = (): string[] => [
    style.dim(`holdfast who: watching since ${since}; q or Ctrl-C ends it`),
    '',
    ...blocks(),
    ...(events.length === 0 ? [] : ['', ...events.toReversed()]),
  ];
  const view = new LiveView(lines, (key) => ending.now(key === 'quit' ? 0 : 128 + constants.signals.SIGINT));
  try {
    for await (const next of manager.watch(input, { signal: ending.signal })) {
      if (uses === undefined) view.open();
      else events.push(...useEvents(uses, next).map((event) => style.dim(renderEvent(event).trimEnd())));
      events.splice(0, events.length - eventsShown);
      uses = next;
      view.draw();
    }
    return ending.status;
  } finally {
    view.close();
    if (uses !== undefined) writeOut(`${blocks().join('\n')}\n`);
    ending.over();
  }
}

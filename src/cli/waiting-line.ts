/** For whom `run --wait` waits and how long: one line, kept up to date on a terminal, written once elsewhere. */
import { isatty } from 'node:tty';
import { formatDuration } from '../duration.js';
import type { Waiting } from '../index.js';
import { printable } from '../printable.js';
import { renderHolder } from './render-refusal.js';
import { writeError } from './write.js';

export interface WaitingLine {
  /** False: nothing will be shown of what comes next. */
  show(waiting: Waiting): boolean;
  /** Takes the line away. */
  end(): void;
}

const stderr = 2;
/** ECMA-48: back to the first column, and erase to the end of the line. */
const clearLine = '\r\u001B[K';

export function waitingLine(): WaitingLine {
  let shown = false;
  let terminal = false;
  return {
    show(waiting) {
      if (!shown) terminal = isatty(stderr);
      if (terminal) writeError(clearLine + withinLine(waitingText(waiting)));
      else if (!shown) writeError(`${waitingText(waiting)}\n`);
      shown = true;
      return terminal;
    },
    end() {
      if (shown && terminal) writeError(clearLine);
    },
  };
}

export function waitingText({ refusal, waitedMs }: Waiting): string {
  const [first, ...more] = refusal.holders;
  const others = more.length === 0 ? '' : ` and ${more.length} more`;
  const who = first === undefined ? 'someone' : renderHolder(first) + others;
  // The time stands in front: a terminal may have no room for the whole line.
  const waited = waitedMs < 1000 ? '' : ` ${formatDuration(waitedMs)}`;
  return printable(`holdfast: waiting${waited} for ${refusal.resource ?? 'a disk'}, held by ${who}`);
}

/** A line that wraps would not be erased whole. */
function withinLine(text: string): string {
  const columns = Number(process.env['COLUMNS']) || 80;
  return text.length < columns ? text : `${text.slice(0, columns - 4)}...`;
}

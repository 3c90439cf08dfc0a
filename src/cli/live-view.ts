/**
 * A view on a terminal that is drawn anew (ECMA-48, and xterm's second screen): as high as the terminal at most, in no
 * line wider. What was on the screen before comes back in the end.
 */
import { ReadStream, WriteStream, isatty } from 'node:tty';
import { writeOut } from './write.js';

const stdin = 0;
const stdout = 1;

const alternateScreen = '\u001B[?1049h';
const normalScreen = '\u001B[?1049l';
const hideCursor = '\u001B[?25l';
const showCursor = '\u001B[?25h';
/** To the corner, and erase what is behind. */
const clear = '\u001B[H\u001B[J';
/** A line that wraps would take the room of two. */
const noWrap = '\u001B[?7l';
const wrap = '\u001B[?7h';

const ctrlC = 0x03;
const ctrlD = 0x04;
const ctrlZ = 0x1a;
const rowsUnknown = 24;

export type Key = 'quit' | 'interrupt';

export class LiveView {
  readonly #lines: () => readonly string[];
  readonly #pressed: (key: Key) => void;
  readonly #keyboard = isatty(stdin) ? new ReadStream(stdin) : undefined;
  /** Only asked for its size: all output goes through one place. */
  readonly #screen = new WriteStream(stdout);
  #open = false;

  /** `lines`: what to draw now, the most important first. `pressed`: somebody wants it to end. */
  constructor(lines: () => readonly string[], pressed: (key: Key) => void) {
    this.#lines = lines;
    this.#pressed = pressed;
  }

  open(): void {
    this.#open = true;
    this.#enter();
    this.#keyboard?.on('data', this.#key);
    process.on('SIGWINCH', this.draw);
    process.on('SIGCONT', this.#resume);
  }

  readonly draw = (): void => {
    if (!this.#open) return;
    const rows = this.#screen.getWindowSize()[1] || rowsUnknown;
    const lines = this.#lines();
    const more = lines.length - rows;
    // The last row is left for saying how much there was no room for.
    const drawn = more > 0 ? [...lines.slice(0, rows - 1), `... ${more + 1} more lines`] : lines;
    writeOut(`${noWrap}${clear}${drawn.join('\n')}${wrap}`);
  };

  /** Gives the terminal back as it was. Twice is no error. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#keyboard?.off('data', this.#key).pause();
    process.off('SIGWINCH', this.draw);
    process.off('SIGCONT', this.#resume);
    this.#leave();
  }

  #enter(): void {
    // Keys count at once, and are not written over the view; Ctrl-C then is a key like others.
    this.#keyboard?.setRawMode(true);
    writeOut(alternateScreen + hideCursor);
  }

  #leave(): void {
    writeOut(normalScreen + showCursor);
    this.#keyboard?.setRawMode(false);
  }

  readonly #resume = (): void => {
    if (!this.#open) return;
    this.#enter();
    this.draw();
  };

  readonly #key = (bytes: Buffer): void => {
    if (bytes.includes(ctrlC)) this.#pressed('interrupt');
    else if (bytes.includes('q') || bytes.includes('Q') || bytes.includes(ctrlD)) this.#pressed('quit');
    else if (bytes.includes(ctrlZ)) {
      this.#leave();
      process.kill(0, 'SIGTSTP');
    }
  };
}

/** Colours: only on a terminal, and never with NO_COLOR (https://no-color.org) or on a dumb terminal. */
import { isatty } from 'node:tty';

export type Paint = (text: string) => string;

export interface Style {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
}

const plain: Paint = (text) => text;

export const noStyle: Style = { bold: plain, dim: plain, red: plain, green: plain, yellow: plain };

function escape(start: number, end: number): Paint {
  return (text) => `\u001B[${start}m${text}\u001B[${end}m`;
}

const coloured: Style = {
  bold: escape(1, 22),
  dim: escape(2, 22),
  red: escape(31, 39),
  green: escape(32, 39),
  yellow: escape(33, 39),
};

/** The style for what is written to a descriptor. */
export function styleFor(fd: number, env: NodeJS.ProcessEnv = process.env): Style {
  const refused = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return !refused && isatty(fd) ? coloured : noStyle;
}

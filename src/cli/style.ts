/** Colours: only on a terminal, and never with NO_COLOR (https://no-color.org) or on a dumb terminal. */
import { isatty } from 'node:tty';

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

const plain = (text: string): string => text;

export const noStyle: Style = { bold: plain, dim: plain, red: plain, green: plain, yellow: plain };

function escape(start: number, end: number): (text: string) => string {
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

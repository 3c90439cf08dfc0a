/** Columns for people: as wide as their longest cell, two spaces apart, nothing cut off. */
import { printable } from '../printable.js';
import type { Paint, Style } from './style.js';

export interface Cell {
  readonly text: string;
  readonly paint?: Paint;
}

export function renderTable(
  heads: readonly string[],
  rows: ReadonlyArray<ReadonlyArray<string | Cell>>,
  style: Style,
): string {
  const cells = rows.map((row) =>
    row.map((cell) => ({
      ...(typeof cell === 'string' ? {} : cell),
      text: printable(typeof cell === 'string' ? cell : cell.text),
    })),
  );
  const all = [heads.map((text): Cell => ({ text, paint: style.bold })), ...cells];
  const widths = heads.map((_, column) =>
    all.reduce((width, row) => Math.max(width, row[column]?.text.length ?? 0), 0),
  );
  const lines = all.map((row) =>
    row
      .map(({ text, paint }, column) => {
        const shown = paint === undefined ? text : paint(text);
        // The last column is not padded: no blanks at the end of a line.
        return column === row.length - 1 ? shown : shown + ' '.repeat((widths[column] ?? 0) - text.length);
      })
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** Measures two things in turn, A B A B ..., so that a machine whose speed drifts does it to both. */

export interface Figure {
  readonly what: string;
  readonly against: string;
  readonly median: number;
  readonly medianAgainst: number;
  readonly unit: 'ms' | 'us';
  /** What the issue or the design asks for. */
  readonly goal: string;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

type Work = () => unknown;

/** Medians in milliseconds of one call of each, from `rounds` rounds of `calls` calls, after one round that does not count. */
export async function inTurn(
  a: Work,
  b: Work,
  rounds: number,
  calls = 1,
): Promise<readonly [number, number]> {
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round <= rounds; round++) {
    for (const [index, work] of [a, b].entries()) {
      const start = performance.now();
      for (let call = 0; call < calls; call++) await work();
      if (round > 0) times[index]?.push((performance.now() - start) / calls);
    }
  }
  return [median(times[0]), median(times[1])];
}

/** The figures as a table of plain text. */
export function table(figures: readonly Figure[]): string {
  const rows = figures.map(({ what, against, median: a, medianAgainst: b, unit, goal }) => {
    const scale = unit === 'us' ? 1000 : 1;
    const number = (ms: number): string => `${(ms * scale).toFixed(1)} ${unit}`;
    return [what, number(a), against, number(b), (a / b).toFixed(2), number(a - b), goal];
  });
  const head = ['what', 'median', 'against', 'median', 'ratio', 'difference', 'goal'];
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  return [head, ...rows].map((row) => line(row).trimEnd()).join('\n');
}

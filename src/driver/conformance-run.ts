/** Runs the cases of a conformance suite and prints what a driver can do. */
import { causeText } from '../errors.js';
import type { ConformanceCase, ConformanceSuite } from './conformance.js';
import { optionalFunctions } from './driver-shape.js';

export interface CaseResult {
  readonly name: string;
  readonly ability: string;
  readonly outcome: 'passed' | 'skipped' | 'failed';
  /** Why it was skipped or failed. */
  readonly reason?: string;
}

export interface ConformanceReport {
  readonly suite: ConformanceSuite;
  readonly results: readonly CaseResult[];
}

/** The part of `node:test` that is used: `test` itself. */
export type NodeTest = (
  name: string,
  options: { skip?: string | false },
  run: (context: { diagnostic(message: string): void }) => Promise<void>,
) => unknown;

/** Runs all the cases, one after the other. Never rejects: a failed case is a result. */
export async function runCases(suite: ConformanceSuite): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const entry of suite.cases) results.push(await runCase(entry));
  return results;
}

/** Hands the cases to `node:test`, and the matrix as the diagnostic of a last test. */
export function runWithNodeTest(test: NodeTest, suite: ConformanceSuite): void {
  const results: CaseResult[] = [];
  const { name } = suite.about;
  for (const entry of suite.cases) {
    const { name: caseName, ability, skip } = entry;
    if (skip !== undefined) results.push({ name: caseName, ability, outcome: 'skipped', reason: skip });
    void test(`${name}: ${caseName}`, { skip: skip ?? false }, async () => {
      try {
        await entry.run();
        results.push({ name: caseName, ability, outcome: 'passed' });
      } catch (error) {
        results.push({ name: caseName, ability, outcome: 'failed', reason: causeText(error) });
        throw error;
      }
    });
  }
  void test(`${name}: the matrix of abilities`, {}, async (context) => {
    for (const line of abilityMatrix([{ suite, results }]).split('\n')) context.diagnostic(line);
  });
}

async function runCase({ name, ability, skip, run }: ConformanceCase): Promise<CaseResult> {
  if (skip !== undefined) return { name, ability, outcome: 'skipped', reason: skip };
  try {
    await run();
    return { name, ability, outcome: 'passed' };
  } catch (error) {
    return { name, ability, outcome: 'failed', reason: causeText(error) };
  }
}

/**
 * The table of abilities: a column for each driver; rows for what it says of itself, for each optional
 * function, and for the cases of each ability. Below it, every skip and failure with its reason.
 */
export function abilityMatrix(reports: readonly ConformanceReport[]): string {
  const abilities = [...new Set(reports.flatMap(({ suite }) => suite.cases.map(({ ability }) => ability)))];
  const row = (title: string, cell: (report: ConformanceReport) => string): string[] => [
    title,
    ...reports.map(cell),
  ];
  const rows = [
    row('driver', ({ suite }) => suite.about.name),
    row('reach', ({ suite }) => suite.about.reach),
    row('modes', ({ suite }) => suite.about.modes.join(' ')),
    row('supervise', ({ suite }) => (suite.about.supervise ? 'yes' : 'no')),
    ...optionalFunctions.map((name) =>
      row(`${name}()`, ({ suite }) => (suite.offered.includes(name) ? 'yes' : '-')),
    ),
    ...abilities.map((ability) =>
      row(ability, ({ results }) => counts(results.filter((result) => result.ability === ability))),
    ),
  ];
  return [...align(rows), ...reports.flatMap(reasons)].join('\n');
}

function counts(results: readonly CaseResult[]): string {
  const parts = (['passed', 'failed', 'skipped'] as const).map((outcome) => {
    const count = results.filter((result) => result.outcome === outcome).length;
    return count === 0 ? '' : `${count} ${outcome === 'failed' ? 'FAILED' : outcome}`;
  });
  return parts.filter((part) => part !== '').join(', ');
}

function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** One line for each reason, with all the cases that have it. */
function reasons({ suite, results }: ConformanceReport): string[] {
  const byReason = new Map<string, string[]>();
  for (const { name, outcome, reason } of results) {
    if (outcome === 'passed') continue;
    const title = `${suite.about.name} ${outcome}: ${(reason ?? '').split('\n')[0]}`;
    byReason.set(title, [...(byReason.get(title) ?? []), name]);
  }
  return [...byReason].map(([title, cases]) => `${title} (${cases.join('; ')})`);
}

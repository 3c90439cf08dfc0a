import { examineHost, type Finding, type FindingLevel } from '../../index.js';
import { printable } from '../../printable.js';
import { requireAnswers } from '../answering-storage.js';
import type { Parsed } from '../parse-arguments.js';
import { styleFor, type Paint, type Style } from '../style.js';
import { writeOut } from '../write.js';

const somethingFound = 1;
const noSuchDisk = 66;

/** `holdfast doctor`. */
export async function doctor({ options, operands }: Parsed): Promise<number> {
  const configuration = options.text('config');
  await requireAnswers(operands);
  const findings = await examineHost(operands, configuration === undefined ? {} : { configuration });
  writeOut(
    options.has('json')
      ? `${JSON.stringify(findings, null, 2)}\n`
      : renderFindings(findings, styleFor(1), options.has('verbose')),
  );
  if (findings.some(({ id }) => id === 'disk-missing')) return noSuchDisk;
  return findings.some(({ level }) => level === 'problem' || level === 'warning') ? somethingFound : 0;
}

/** Each finding with why and what to do, in the order given; what is fine only if it is asked for; then the counts. */
export function renderFindings(findings: readonly Finding[], style: Style, verbose = false): string {
  const shown = findings.filter(({ level }) => verbose || level !== 'fine');
  return [...shown.map((one) => renderFinding(one, style, verbose)), renderCounts(findings, style)].join('');
}

function renderFinding(
  { id, level, subject, what, why, remedy, evidence }: Finding,
  style: Style,
  verbose: boolean,
): string {
  const line = (head: string, text: string): string => `  ${style.dim(head.padEnd(10))}${printable(text)}\n`;
  const about = subject === undefined ? '' : `${printable(subject)}: `;
  const head = `${paintOf(level, style)(`${level}:`)} ${about}${printable(what)} ${style.dim(`[${id}]`)}\n`;
  const shownEvidence = verbose ? evidence.map((text) => line('evidence', text)) : [];
  if (level === 'fine') return head + shownEvidence.join('');
  const todo = remedy === undefined ? [] : [line('try', remedy)];
  return `${[head, line('because', why), ...todo, ...shownEvidence].join('')}\n`;
}

function paintOf(level: FindingLevel, { red, yellow, green, bold }: Style): Paint {
  return { problem: red, warning: yellow, note: bold, fine: green }[level];
}

function renderCounts(findings: readonly Finding[], style: Style): string {
  const count = (level: FindingLevel): number => findings.filter((one) => one.level === level).length;
  const words = (level: FindingLevel): string => `${count(level)} ${level}${count(level) === 1 ? '' : 's'}`;
  const good =
    count('fine') === 1 ? '1 thing is as it should be' : `${count('fine')} things are as they should be`;
  const text = `${words('problem')}, ${words('warning')}, ${words('note')}; ${good}.`;
  return `${style.bold(text)}\n`;
}

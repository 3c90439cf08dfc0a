/** Help for people and the reference in Markdown, both from the table of commands. */
import { commands, type CommandEntry, type OptionEntry } from './command-table.js';
import { exitCodes } from './exit-codes.js';
import type { Style } from './style.js';

const width = 100;
const indent = 30;

export function renderOverview(style: Style): string {
  const names = commands.map(({ name, summary }) => `  ${style.bold(name.padEnd(9))}${summary}\n`);
  return [
    'Holdfast keeps two programs from writing to the same virtual machine disk.\n\n',
    `${style.bold('Usage:')} holdfast COMMAND [OPTIONS]\n\n`,
    ...names,
    `\n${style.bold('Try:')}\n`,
    ...renderExamples(commands.flatMap(({ examples }) => examples.slice(0, 1)).slice(0, 3)),
    '\n`holdfast help COMMAND` explains a command, `holdfast help --markdown` everything.\n',
  ].join('');
}

export function renderCommandHelp(command: CommandEntry, style: Style): string {
  const parts = [`${style.bold('Usage:')} ${synopsis(command)}\n\n${command.summary}\n`];
  if (command.about.length > 0) parts.push(`\n${command.about.join('\n')}\n`);
  if (command.options.length > 0) {
    parts.push(`\n${style.bold('Options:')}\n`, ...command.options.map(renderOption));
  }
  parts.push(`\n${style.bold('Examples:')}\n`, ...renderExamples(command.examples));
  if (command.name === 'run')
    parts.push(`\n${style.bold('Exit status:')}\n`, ...exitCodes.map(renderExitCode));
  return parts.join('');
}

export function synopsis({ name, options, operands }: CommandEntry): string {
  const some = options.length === 0 ? '' : ' [OPTIONS]';
  return `holdfast ${name}${some}${operands === undefined ? '' : ` ${operands}`}`;
}

/** `-E, --conflict-exit-code=N`; `--wait[=TIME]`. */
function spelling({ name, short, value, valueIsOptional }: OptionEntry): string {
  const long = `--${name}`;
  const withValue = valueIsOptional === true ? `${long}[=${value}]` : `${long}=${value}`;
  return (short === undefined ? '' : `-${short}, `) + (value === undefined ? long : withValue);
}

function explanation({ help, repeat, choices }: OptionEntry): string {
  const some = choices === undefined ? '' : ` One of ${choices.join(', ')}.`;
  return `${help}${some}${repeat === true ? ' Can be repeated.' : ''}`;
}

function renderOption(option: OptionEntry): string {
  const head = `  ${spelling(option)}`;
  const lines = wrapped(explanation(option), width - indent);
  const first = head.length < indent ? head.padEnd(indent) + (lines.shift() ?? '') : head;
  return `${[first, ...lines.map((line) => ' '.repeat(indent) + line)].join('\n')}\n`;
}

function renderExamples(examples: CommandEntry['examples']): string[] {
  return examples.map(({ line, says }) => `  # ${says}\n  ${line}\n`);
}

function renderExitCode([status, meaning]: readonly [string, string]): string {
  return `  ${status.padEnd(7)}${meaning}\n`;
}

function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** docs/cli.md; a test compares the two. */
export function renderMarkdown(): string {
  return [
    '# The command line\n',
    '\nThis page is what `holdfast help --markdown` prints.\n',
    ...commands.map(commandMarkdown),
    '\n## Exit status\n\n',
    ...markdownTable(['status', 'meaning'], exitCodes),
  ].join('');
}

function commandMarkdown(command: CommandEntry): string {
  const { name, summary, about, options, examples } = command;
  const rows = options.map((option) => [`\`${spelling(option)}\``, explanation(option)]);
  return [
    `\n## holdfast ${name}\n\n${summary}\n\n\`\`\`\n${synopsis(command)}\n\`\`\`\n`,
    about.length === 0 ? '' : `\n${about.join('\n')}\n`,
    '\n',
    ...markdownTable(['option', 'meaning'], rows),
    ...examples.map(({ line, says }) => `\n${says}\n\n\`\`\`sh\n${line}\n\`\`\`\n`),
  ].join('');
}

function markdownTable(heads: readonly string[], rows: ReadonlyArray<readonly string[]>): string[] {
  const rule = heads.map(() => '---');
  return [heads, rule, ...rows].map(
    (row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|').replaceAll('<', '&lt;')).join(' | ')} |\n`,
  );
}

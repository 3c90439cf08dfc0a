/** argv -> a command of the table and the values of its options. Every mistake is a USAGE error that says what to write. */
import { statSync } from 'node:fs';
import { parseDuration } from '../duration.js';
import { HoldfastError } from '../errors.js';
import { nearestWord } from '../nearest-word.js';
import { commands, type CommandEntry, type OptionEntry } from './command-table.js';
import { scanWords } from './scan-words.js';

/** The options that were given, by name. Asking for one that the command does not have gives what is not set. */
export class OptionValues {
  readonly #values = new Map<string, string[]>();

  add(name: string, value: string): void {
    this.#values.set(name, [...this.list(name), value]);
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The value of an option that can be given once. */
  text(name: string): string | undefined {
    return this.#values.get(name)?.at(-1);
  }

  list(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }
}

export interface Parsed {
  readonly command: CommandEntry;
  readonly options: OptionValues;
  /** The command behind `--` with its arguments, the topic of `help`, paths, or a hold and what is of it. */
  readonly operands: readonly string[];
}

/** Parses what follows `holdfast`. `undefined`: nothing was given at all. Throws USAGE. */
export function parseArguments(argv: readonly string[]): Parsed | undefined {
  const [first, ...rest] = argv;
  if (first === undefined) return undefined;
  const command = commandNamed(spelledAsOption.get(first) ?? first);
  const dashes = rest.indexOf('--');
  const front = dashes === -1 ? rest : rest.slice(0, dashes);
  const behind = dashes === -1 ? [] : rest.slice(dashes + 1);
  const { options, words } = parseOptions(command, front);
  if (options.has('help')) return helpOf(command, options);
  return { command, options, operands: operandsOf(command, words, behind, dashes !== -1) };
}

const spelledAsOption: ReadonlyMap<string, string> = new Map([
  ['--help', 'help'],
  ['-h', 'help'],
  ['--version', 'version'],
  ['-V', 'version'],
]);

/** `COMMAND --help` is `help COMMAND`, as text or as data. */
function helpOf({ name }: CommandEntry, given: OptionValues): Parsed {
  const options = new OptionValues();
  if (given.has('json')) options.add('json', '');
  return { command: commandNamed('help'), options, operands: [name] };
}

export function commandNamed(name: string): CommandEntry {
  const found = commands.find((command) => command.name === name);
  if (found !== undefined) return found;
  const names = commands.map((command) => command.name);
  if (name.startsWith('-'))
    throw usage(`${name} stands in front of the command`, `Write: holdfast COMMAND ${name} ...`);
  throw usage(
    `there is no command ${name}`,
    didYouMean(nearestWord(name, names)) ?? `The commands are ${names.join(', ')}.`,
  );
}

function parseOptions(
  command: CommandEntry,
  front: readonly string[],
): { options: OptionValues; words: string[] } {
  const options = new OptionValues();
  const words: string[] = [];
  for (const { word, before, spelled, option, value, inline } of scanWords(command.options, front)) {
    if (spelled === undefined) {
      requireJoined(command, before, word);
      words.push(word);
      continue;
    }
    if (option === undefined) throw unknownOption(command, spelled);
    if (option.value !== undefined && option.repeat !== true && options.has(option.name)) {
      throw usage(`--${option.name} is given twice`, 'Give it once.');
    }
    options.add(option.name, checkedValue(command, option, value, inline));
  }
  for (const { name, needs } of command.options) {
    if (needs !== undefined && options.has(name) && !options.has(needs)) {
      throw usage(`--${name} makes sense only with --${needs}`, seeHelp(command));
    }
  }
  return { options, words };
}

/** `--wait 5s`: a value that may be left out and stands apart would be taken for a word of its own. */
function requireJoined(command: CommandEntry, before: string | undefined, word: string): void {
  const option = command.options.find(
    ({ name, valueIsOptional }) => valueIsOptional === true && before === `--${name}`,
  );
  if (option === undefined || !hasForm(option, word)) return;
  throw usage(
    `the value of --${option.name} has to be joined to it by an equals sign`,
    `Write: --${option.name}=${word}`,
  );
}

function checkedValue(
  command: CommandEntry,
  option: OptionEntry,
  value: string | undefined,
  inline: boolean,
): string {
  const { name } = option;
  if (option.value === undefined) {
    if (value !== undefined)
      throw usage(`--${name} takes no value, but ${quoted(value)} was given`, seeHelp(command));
    return '';
  }
  if (option.valueIsOptional === true && value === '') return '';
  const wanted = `Write: --${name}=${option.value}`;
  if (value === undefined || value === '') throw usage(`--${name} needs a value`, wanted);
  // `--disk --json` is a forgotten value, not a file named --json; a lone dash is stdin.
  if (!inline && value.length > 1 && value.startsWith('-')) {
    throw usage(`--${name} needs a value, but ${quoted(value)} follows`, wanted);
  }
  if (!hasForm(option, value)) {
    throw usage(`--${name} cannot be ${quoted(value)}`, formAdvice(option, value));
  }
  return value;
}

const exitStatusMax = 255;

function hasForm({ form, choices }: OptionEntry, value: string): boolean {
  if (form === 'duration') return parseDuration(value) !== undefined;
  if (form === 'exit status') return /^\d{1,3}$/.test(value) && Number(value) <= exitStatusMax;
  return choices === undefined || choices.includes(value);
}

function formAdvice({ form, choices = [] }: OptionEntry, value: string): string {
  if (form === 'duration') return 'Write a duration such as 30s, 5m or 1h.';
  if (form === 'exit status') return `Write a number from 0 to ${exitStatusMax}.`;
  return didYouMean(nearestWord(value, choices)) ?? `It is one of ${choices.join(', ')}.`;
}

function operandsOf(
  command: CommandEntry,
  words: readonly string[],
  behind: readonly string[],
  dashes: boolean,
): readonly string[] {
  const [word] = words;
  switch (command.takes) {
    case 'behind dashes':
      if (word !== undefined) {
        throw usage(
          `${quoted(word)} is no option of ${command.name}`,
          optionForFile(command, word) ??
            `Put the command behind two dashes: holdfast ${command.name} OPTIONS -- ${word} ...`,
        );
      }
      if (behind.length === 0) {
        const what = dashes ? 'nothing stands behind the two dashes' : 'there is no command to run';
        throw usage(what, `Write: holdfast ${command.name} OPTIONS ${command.operands ?? ''}`);
      }
      return behind;
    case 'topic': {
      const topics = [...words, ...behind];
      if (topics.length > 1) throw usage(`${command.name} explains one command at a time`, seeHelp(command));
      return topics;
    }
    case 'paths':
      return [...words, ...behind];
    case 'hold':
    case 'hold and names':
      return holdOperands(command, [...words, ...behind]);
    case 'resource':
      return resourceOperand(command, [...words, ...behind]);
    case 'action and place':
      return actionOperands(command, [...words, ...behind]);
    case 'none': {
      const extra = word ?? behind[0];
      if (extra !== undefined) {
        const remedy = optionForFile(command, extra) ?? seeHelp(command);
        throw usage(`${command.name} takes no ${quoted(extra)}`, remedy);
      }
      return [];
    }
  }
}

function resourceOperand(command: CommandEntry, words: readonly string[]): readonly string[] {
  const { name, operands = '' } = command;
  if (words.length > 1) throw usage(`${name} takes one resource at a time`, seeHelp(command));
  if (words.length === 1) return words;
  throw usage(`${name} needs a resource`, `Write: holdfast ${name} [OPTIONS] ${operands}`);
}

function actionOperands(command: CommandEntry, words: readonly string[]): readonly string[] {
  const { name, operands = '' } = command;
  if (words.length === 2) return words;
  const what = words.length > 2 ? 'takes one place at a time' : 'needs an action and a place';
  throw usage(`${name} ${what}`, `Write: holdfast ${name} [OPTIONS] ${operands}`);
}

function holdOperands(command: CommandEntry, words: readonly string[]): readonly string[] {
  const { name, takes, operands = '' } = command;
  const [, second] = words;
  if (takes === 'hold' && second !== undefined) {
    const file = words.find(isFile) ?? second;
    const others = words.filter((word) => word !== file);
    // Not a word that a shell would read as something else.
    const hold = others.length === 1 && /^[\w.:+-]+$/.test(others[0] ?? '') ? others[0] : operands;
    const remedy = optionForFile({ ...command, operands: hold ?? operands }, file) ?? seeHelp(command);
    throw usage(`${name} takes one hold at a time`, remedy);
  }
  if (words.length === 0) throw usage(`${name} needs a hold`, `Write: holdfast ${name} ${operands}`);
  if (takes === 'hold and names' && words.length === 1) {
    throw usage(`${name} needs a disk or lease of the hold`, `Write: holdfast ${name} ${operands}`);
  }
  return words;
}

function isFile(word: string): boolean {
  return statSync(word, { throwIfNoEntry: false }) !== undefined;
}

const executable = 0o111;

/** What to write for a word that is a file, unless it may be the command that is to run. */
function optionForFile({ name, takes, operands, options }: CommandEntry, word: string): string | undefined {
  const stats = statSync(word, { throwIfNoEntry: false });
  const isCommand = takes === 'behind dashes' && stats?.isFile() === true && (stats.mode & executable) !== 0;
  const option = word.endsWith('.xml') ? 'xml' : 'disk';
  if (stats === undefined || isCommand || !options.some((one) => one.name === option)) return undefined;
  const rest = operands === undefined ? '' : ` ${operands}`;
  return `Write: holdfast ${name} --${option} ${word}${rest}`;
}

function unknownOption(command: CommandEntry, rawName: string): HoldfastError {
  const known = command.options.map(({ name }) => `--${name}`);
  return usage(
    `${command.name} has no option ${rawName}`,
    didYouMean(nearestWord(rawName, known)) ?? seeHelp(command),
  );
}

function usage(message: string, remedy: string): HoldfastError {
  return new HoldfastError('USAGE', message, { remedy });
}

function seeHelp(command: CommandEntry): string {
  return `See: holdfast help ${command.name}`;
}

function didYouMean(word: string | undefined): string | undefined {
  return word === undefined ? undefined : `Did you mean ${word}?`;
}

function quoted(text: string): string {
  return `'${text}'`;
}

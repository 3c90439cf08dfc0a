import { header, listing, operandKind, shortHelp, valueKind } from './words.mjs';

const quoted = (text) => `'${text.replaceAll(/['\\]/g, '\\$&')}'`;

const words = {
  file: '-r -F',
  folder: `-x -a '(__fish_complete_directories)'`,
  domain: `-x -a ${quoted(`(${listing.domain})`)}`,
  driver: `-x -a ${quoted(`(${listing.driver})`)}`,
  hold: `-x -a ${quoted(`(${listing.hold})`)}`,
  group: `-x -a '(__fish_complete_groups)'`,
  nothing: '-x',
};

function optionLine(program, condition, option) {
  const { name, short, valueIsOptional, choices, help } = option;
  const kind = valueKind(option);
  const value = kind === 'choice' ? `-x -a ${quoted(choices.join(' '))}` : words[kind];
  const parts = [
    `complete -c ${program}`,
    condition,
    short === undefined ? '' : `-s ${short.slice(1)}`,
    `-l ${name.slice(2)}`,
    kind === undefined || valueIsOptional ? '' : value,
    `-d ${quoted(shortHelp(help))}`,
  ];
  return `${parts.filter((part) => part !== '').join(' ')}\n`;
}

function commandLines(command, names) {
  const { name, summary, options } = command;
  const condition = `-n '__holdfast_in ${name}'`;
  const kind = operandKind(command);
  const operand = {
    file: `complete -c holdfast ${condition} -F\n`,
    hold: `complete -c holdfast ${condition} ${words.hold}\n`,
    command: `complete -c holdfast ${condition} -x -a ${quoted(names.join(' '))}\n`,
  }[kind];
  return [
    `complete -c holdfast -n __holdfast_first -x -a ${name} -d ${quoted(shortHelp(summary))}\n`,
    ...options.map((option) => optionLine('holdfast', condition, option)),
    operand ?? '',
  ].join('');
}

export function fishCompletion(commands) {
  const names = commands.map(({ name }) => name);
  return `${header}
function __holdfast_first
    test (count (commandline -opc)) -eq 1
end

# In the options of this command.
function __holdfast_in
    set -l tokens (commandline -opc)
    test "$tokens[2]" = $argv[1]; and not contains -- -- $tokens
end

function __holdfast_behind_dashes
    contains -- -- (commandline -opc)
end

complete -c holdfast -f
complete -c holdfast -n __holdfast_behind_dashes -F -a '(__fish_complete_command)'
${commands.map((command) => commandLines(command, names)).join('')}`;
}

/** fish looks for a file by the name of the command. */
export function fishDaemonCompletion(commands) {
  const serve = commands.find(({ name }) => name === 'serve');
  const lines = serve.options.map((option) => optionLine('holdfastd', '', option));
  return `${header}\ncomplete -c holdfastd -f\n${lines.join('')}`;
}

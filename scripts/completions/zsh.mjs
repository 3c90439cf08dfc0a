import { header, listing, operandKind, shortHelp, valueKind } from './words.mjs';

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const escaped = (text) => text.replaceAll(/[\\[\]:]/g, '\\$&');

const actions = {
  file: '_files',
  folder: '_files -/',
  domain: '_holdfast_domains',
  driver: '_holdfast_drivers',
  hold: '_holdfast_holds',
  group: '_groups',
  nothing: ' ',
};

/** zshcompsys(1), _arguments. */
function optionSpec(option) {
  const { name, short, value, valueIsOptional, choices, repeat, help } = option;
  const kind = valueKind(option);
  const action = kind === 'choice' ? `(${choices.join(' ')})` : actions[kind];
  const message = value === undefined ? '' : `${valueIsOptional ? '::' : ':'}${escaped(value)}:${action}`;
  const rest = `[${escaped(shortHelp(help))}]${message}`;
  const long = value === undefined ? name : `${name}=${valueIsOptional ? '-' : ''}`;
  if (short === undefined) return quoted((repeat ? '*' : '') + long + rest);
  const shortForm = value === undefined ? short : `${short}+`;
  return `${quoted(`(${short} ${name})`)}{${shortForm},${long}}${quoted(rest)}`;
}

function operandSpec(command) {
  const kind = operandKind(command);
  if (kind === 'nothing') return [];
  if (kind === 'command') return [quoted('1:command:_holdfast_commands')];
  if (kind === 'program') return [quoted('*:::command:_normal')];
  return [quoted(`*:${kind}:${actions[kind]}`)];
}

function commandCase(command) {
  const specs = [...command.options.map(optionSpec), ...operandSpec(command)];
  return `    ${command.name}) _arguments -s -S ${specs.join(' \\\n      ')} ;;\n`;
}

function listFunction(name, what, command) {
  return `${name}() {
  local -a found
  found=(\${(f)"$(${command})"})
  compadd -X ${quoted(what)} -a found
}

`;
}

export function zshCompletion(commands) {
  const described = commands.map(({ name, summary }) => quoted(`${name}:${escaped(shortHelp(summary))}`));
  return `#compdef holdfast holdfastd
${header}
_holdfast_commands() {
  local -a commands
  commands=(
    ${described.join('\n    ')}
  )
  _describe command commands
}

${listFunction('_holdfast_domains', 'guests of libvirt', listing.domain)}${listFunction(
    '_holdfast_drivers',
    'drivers',
    listing.driver,
  )}${listFunction('_holdfast_holds', 'holds', listing.hold)}_holdfast_options() {
  case $1 in
${commands.map(commandCase).join('')}  esac
}

_holdfast() {
  local curcontext=$curcontext state line
  if [[ $service == holdfastd ]]; then
    _holdfast_options serve
    return
  fi
  _arguments -C '1:command:_holdfast_commands' '*::argument:->argument'
  if [[ $state == argument ]]; then _holdfast_options $words[1]; fi
}

if [[ $funcstack[1] == _holdfast ]]; then _holdfast "$@"; else compdef _holdfast holdfast holdfastd; fi
`;
}

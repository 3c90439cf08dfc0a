import { diskModes, header, listing, operandKind, valueKind } from './words.mjs';

const lines = (kind) => `_holdfast_lines < <(${listing[kind]})`;
const actions = {
  file: '_holdfast_files -f',
  folder: '_holdfast_files -d',
  domain: lines('domain'),
  driver: lines('driver'),
  hold: lines('hold'),
  group: 'COMPREPLY=($(compgen -g -- "$cur"))',
  nothing: 'COMPREPLY=()',
};

function wordsAction(words) {
  return `COMPREPLY=($(compgen -W '${words.join(' ')}' -- "$cur"))`;
}

/** After an option with a value. */
function valueCase(option) {
  const kind = valueKind(option);
  if (kind === undefined || option.valueIsOptional) return [];
  const names = [option.name, option.short].filter((name) => name !== undefined).join('|');
  const action = kind === 'choice' ? wordsAction(option.choices) : actions[kind];
  return [`        ${names}) ${action}; return ;;\n`];
}

function commandCase(command, names) {
  const { name, options } = command;
  const spelled = options.flatMap((option) => [option.name, option.short].filter((one) => one !== undefined));
  const kind = operandKind(command);
  const operand =
    kind === 'command' ? wordsAction(names) : kind === 'program' ? wordsAction(['--']) : actions[kind];
  return `    ${name})
      case $prev in
${options.flatMap(valueCase).join('')}      esac
      if [[ $cur == -* ]]; then ${wordsAction(spelled)}; else ${operand}; fi ;;
`;
}

/** For bash 4 and later, with or without the bash-completion package. */
export function bashCompletion(commands) {
  const names = commands.map(({ name }) => name);
  return `${header}
_holdfast_files() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen "$1" -- "$cur"))
}

# Of the lines of its input those that begin with what is written.
_holdfast_lines() {
  local line
  while IFS= read -r line; do
    if [[ -n $line && $line == "$cur"* ]]; then COMPREPLY+=("$(printf %q "$line")"); fi
  done
}

_holdfast() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} before='' at command dashes=0
  COMPREPLY=()
  if ((COMP_CWORD > 2)); then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  # bash takes --disk=PATH and PATH:MODE apart.
  if [[ $cur == = ]]; then cur=''; elif [[ $prev == = ]]; then prev=$before; fi
  command=\${COMP_WORDS[1]}
  if [[ \${COMP_WORDS[0]##*/} == holdfastd ]]; then
    command=serve
  elif ((COMP_CWORD == 1)); then
    ${wordsAction(names)}
    return
  fi
  for ((at = 2; at < COMP_CWORD; at++)); do
    if [[ \${COMP_WORDS[at]} == -- ]]; then dashes=$at; break; fi
  done
  if ((dashes > 0)) && [[ $command == run ]]; then
    if declare -F _command_offset >/dev/null; then _command_offset $((dashes + 1))
    elif ((COMP_CWORD == dashes + 1)); then COMPREPLY=($(compgen -c -- "$cur"))
    else _holdfast_files -f
    fi
    return
  fi
  if [[ $cur == : || $prev == : ]]; then
    if [[ $cur == : ]]; then cur=''; fi
    ${wordsAction([...diskModes, 'format='])}
    return
  fi
  case $command in
${commands.map((command) => commandCase(command, names)).join('')}  esac
}

complete -F _holdfast holdfast holdfastd
`;
}

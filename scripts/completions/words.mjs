/** What the completions of all shells are made from: the commands as `holdfast help --json` gives them. */

/** What a value or an operand is completed with, by how the help writes it. */
const kinds = [
  [/^(?:FILE|PATH)/, 'file'],
  [/^DIRECTORY/, 'folder'],
  [/^NAME\|UUID/, 'domain'],
  [/^LIST/, 'driver'],
  [/^HOLD/, 'hold'],
  [/^COMMAND \[/, 'program'],
  [/^COMMAND/, 'command'],
];

function kindOf(text) {
  return kinds.find(([pattern]) => pattern.test(text))?.[1] ?? 'nothing';
}

/** How an option's value is completed; undefined: it has none. */
export function valueKind({ name, value, choices }) {
  if (value === undefined) return undefined;
  if (choices !== undefined) return 'choice';
  return name === '--group' ? 'group' : kindOf(value);
}

/** How what follows the options is completed. */
export function operandKind({ usage }) {
  const [, operands = ''] = /^holdfast \w+(?: \[OPTIONS\])?(?: -- | )?(.*)$/.exec(usage) ?? [];
  return kindOf(operands.replace(/^\[/, ''));
}

/** The first sentence, without what is in brackets: there is one line for it. */
export function shortHelp(help) {
  const [first = ''] = help.split(/[.;](?: |$)/);
  return first.replaceAll(/ \([^)]*\)/g, '').replace(/: .*$/, '');
}

export const header = '# Written by scripts/write-completions.mjs out of the table of commands.\n';

/** Shell commands that print one word a line. */
export const listing = {
  domain: 'virsh --quiet list --all --name 2>/dev/null',
  driver: "holdfast drivers 2>/dev/null | sed '1d; s/ .*//'",
  hold: `holdfast list --json 2>/dev/null | sed -n 's/^ *"name": "\\(.*\\)",*$/\\1/p'`,
};

export const diskModes = ['exclusive', 'shared', 'read', 'peek'];

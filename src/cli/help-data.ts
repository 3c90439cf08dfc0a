/** The help as data, for completions and for programs that write command lines: `holdfast help --json`. */
import type { CommandEntry, Example, OptionEntry } from './command-table.js';
import { commands } from './command-table.js';
import { exitCodes } from './exit-codes.js';
import { commandNamed } from './parse-arguments.js';
import { synopsis } from './render-help.js';

export interface HelpData {
  readonly commands: readonly CommandHelp[];
  readonly exitStatuses: ReadonlyArray<{ readonly status: string; readonly meaning: string }>;
}

export interface CommandHelp {
  readonly name: string;
  readonly summary: string;
  /** How it is written: `holdfast run [OPTIONS] -- COMMAND [ARGUMENT...]`. */
  readonly usage: string;
  readonly about: string;
  readonly options: readonly OptionHelp[];
  readonly examples: readonly Example[];
}

/** As in the table, but written as it is on a command line: `--disk`, `-q`. */
export type OptionHelp = Omit<OptionEntry, 'repeat'> & { readonly repeat: boolean };

/** Of all commands, or of one. Throws USAGE if there is no such command. */
export function helpData(topic: string | undefined): HelpData {
  const chosen = topic === undefined ? commands : [commandNamed(topic)];
  return {
    commands: chosen.map(commandHelp),
    exitStatuses: exitCodes.map(([status, meaning]) => ({ status, meaning })),
  };
}

function commandHelp(command: CommandEntry): CommandHelp {
  const { name, summary, about, options, examples } = command;
  return {
    name,
    summary,
    usage: synopsis(command),
    about: about.join('\n'),
    options: options.map(optionHelp),
    examples,
  };
}

function optionHelp({ name, short, needs, repeat = false, ...rest }: OptionEntry): OptionHelp {
  return {
    name: `--${name}`,
    ...(short === undefined ? {} : { short: `-${short}` }),
    ...rest,
    ...(needs === undefined ? {} : { needs: `--${needs}` }),
    repeat,
  };
}

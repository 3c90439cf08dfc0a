/** What the table of commands is made of. */

export interface OptionEntry {
  readonly name: string;
  readonly short?: string;
  /** What stands for the value in the help; an option without one is on or off. */
  readonly value?: string;
  /** The value may be left out, and has to be joined by `=` where it is given. */
  readonly valueIsOptional?: boolean;
  /** May be given several times; any other option with a value only once, so that no disk is silently left out. */
  readonly repeat?: boolean;
  /** What the value has to be. */
  readonly form?: 'duration' | 'exit status';
  /** The only values there are. */
  readonly choices?: readonly string[];
  /** Makes sense only together with this option. */
  readonly needs?: string;
  readonly help: string;
}

export interface Example {
  readonly line: string;
  readonly says: string;
}

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** What follows the options in the synopsis. */
  readonly operands?: string;
  /**
   * `behind dashes`: a command behind `--`; `topic`: at most one word; `paths`: any number of them; `hold`, `resource`: one word;
   * `hold and names`: one word, and at least one more; `action and place`: two words; `none`.
   */
  readonly takes:
    | 'behind dashes'
    | 'topic'
    | 'paths'
    | 'hold'
    | 'hold and names'
    | 'resource'
    | 'action and place'
    | 'none';
  readonly about: readonly string[];
  readonly options: readonly OptionEntry[];
  readonly examples: readonly Example[];
}

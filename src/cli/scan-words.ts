/**
 * Which words of a command line are options and which are their values, as getopt_long(3) reads them. Node's own
 * parseArgs says the same (a test compares the two) and costs each start 0.6 ms.
 */
import type { OptionEntry } from './command-table.js';

export interface ScannedWord {
  readonly word: string;
  /** The word before it. */
  readonly before: string | undefined;
  /** How the option is written (`--disk`, `-q`). Missing: it is no option, but a word of its own. */
  readonly spelled?: string;
  /** Undefined: there is no such option. */
  readonly option?: OptionEntry | undefined;
  /** Undefined: it has none. */
  readonly value?: string | undefined;
  /** Whether the value is joined to the option. */
  readonly inline: boolean;
}

/** An option whose value may be left out takes only one that is joined; without it, its value is empty. */
export function scanWords(options: readonly OptionEntry[], words: readonly string[]): ScannedWord[] {
  const scanned: ScannedWord[] = [];
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? '';
    const before = words[index - 1];
    const found = (spelled: string, option: OptionEntry | undefined, joined: string | undefined): void => {
      const needsNext = joined === undefined && takesNext(option);
      if (needsNext) index += 1;
      const none = option?.valueIsOptional === true ? '' : undefined;
      const value = needsNext ? words[index] : (joined ?? none);
      scanned.push({ word, before, spelled, option, value, inline: joined !== undefined });
    };
    if (word.startsWith('--')) {
      const equals = word.indexOf('=', 3);
      const spelled = equals === -1 ? word : word.slice(0, equals);
      const option = options.find(({ name }) => `--${name}` === spelled);
      found(spelled, option, equals === -1 ? undefined : word.slice(equals + 1));
    } else if (word.startsWith('-') && word !== '-') {
      // `-qE9` is `-q -E 9`.
      for (let at = 1; at < word.length; at += 1) {
        const spelled = `-${word[at] ?? ''}`;
        const option = options.find(({ short }) => `-${short}` === spelled);
        const rest = takesNext(option) ? word.slice(at + 1) : '';
        found(spelled, option, rest === '' ? undefined : rest);
        if (rest !== '') break;
      }
    } else {
      scanned.push({ word, before, inline: false });
    }
  }
  return scanned;
}

function takesNext(option: OptionEntry | undefined): boolean {
  return option?.value !== undefined && option.valueIsOptional !== true;
}

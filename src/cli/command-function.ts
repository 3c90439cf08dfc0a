import type { Parsed } from './parse-arguments.js';

/** What each file in commands/ exports: does the work, writes its output, gives the exit status. */
export type CommandFunction = (parsed: Parsed) => Promise<number> | number;

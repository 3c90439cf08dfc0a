/** The exit statuses of the command, for the help; errors.ts says which error has which. */
export const exitCodes: ReadonlyArray<readonly [status: string, meaning: string]> = [
  ['0', 'Done; of `run`, the command ended with 0; of `who`, something is in use.'],
  ['1', 'Of `doctor`: it found a problem or a warning. Of `who`: all is free, and nothing was out of sight.'],
  ['64', 'Wrong usage.'],
  ['65', 'Bad XML or data.'],
  ['66', 'No such disk, file or domain, or it cannot be read; `who` and `doctor` tell the others.'],
  ['69', 'A driver or what is behind it is not reachable, or cannot lock this.'],
  ['70', 'A bug in Holdfast.'],
  ['74', 'A lock was lost; of the other commands, the output could not be written.'],
  ['75', 'In use, also after waiting; of `plan`, it would not be granted. `-E N` changes it.'],
  ['77', 'Not permitted, or not everything could be seen.'],
  ['78', 'Bad configuration.'],
  ['126', 'The command of `run` could not be started.'],
  ['127', 'There is no such command.'],
  [
    '128+N',
    'Signal N ended the command of `run --supervise`, or Holdfast as it waited or watched (130: Ctrl-C).',
  ],
  ['other', "The status of `run`'s command."],
];

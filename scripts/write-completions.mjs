/**
 * `node scripts/write-completions.mjs [FOLDER]` writes what completes command lines in bash, zsh and fish, out of the table
 * of commands, which the built command prints, into packaging/completions/ or FOLDER.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bashCompletion } from './completions/bash.mjs';
import { fishCompletion, fishDaemonCompletion } from './completions/fish.mjs';
import { header } from './completions/words.mjs';
import { zshCompletion } from './completions/zsh.mjs';
import { environment, root } from './set-up.mjs';

const command = join(root, 'dist/command/holdfast');
const { commands } = JSON.parse(
  execFileSync(command, ['help', '--json'], { encoding: 'utf8', env: environment() }),
);
const files = {
  'bash/holdfast': bashCompletion(commands),
  // bash-completion looks for a file by the name of the command.
  'bash/holdfastd': `${header}\n. "\${BASH_SOURCE[0]%/*}/holdfast"\n`,
  'zsh/_holdfast': zshCompletion(commands),
  'fish/holdfast.fish': fishCompletion(commands),
  'fish/holdfastd.fish': fishDaemonCompletion(commands),
};
const folder = process.argv[2] ?? join(root, 'packaging/completions');
for (const [name, text] of Object.entries(files)) {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

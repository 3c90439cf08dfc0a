/**
 * Commands in a document, with what they print:
 *
 *     <!-- run: a guest -->
 *     ```console
 *     $ holdfast run --disk web1.qcow2 -- true
 *     holdfast: web1.qcow2 is in use (you asked for it exclusively)
 *     ...
 *     ```
 *
 * The comment names the situation that the commands are run in. A line `...` stands for any lines. Processes, times,
 * users, loop devices and the width of gaps differ from run to run, and folders from host to host; all else has to be as it
 * stands there.
 */
import { readFileSync } from 'node:fs';
import { start } from './command.js';

export interface ConsoleBlock {
  readonly place: string;
  readonly situation: string;
  readonly steps: readonly Step[];
}

interface Step {
  readonly command: string;
  readonly output: readonly string[];
}

/** The folder that documents show. */
const shownFolder = '/var/lib/images';

/** Where a block is run. `ownMounts`: in a mount namespace of its own. */
interface RunPlace {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly ownMounts?: boolean;
}

/** All blocks of `console` of a document. Throws if one does not say in which situation it is run. */
export function consoleBlocks(document: URL): ConsoleBlock[] {
  const text = readFileSync(document, 'utf8');
  const name = document.pathname.split('/').at(-1);
  return [
    ...text.matchAll(/(?:^<!-- run: (?<situation>.*) -->\n+)?^```console\n(?<code>[\s\S]*?)^```$/gm),
  ].map(({ groups, index }) => {
    const place = `${name}:${text.slice(0, index).split('\n').length}`;
    if (groups?.['situation'] === undefined) throw new Error(`${place}: no comment says how it is run`);
    return { place, situation: groups['situation'], steps: stepsOf(groups['code'] ?? '') };
  });
}

/** The files that a document shows: a comment `<!-- file: NAME -->` before a block. */
export function shownFiles(document: URL, folder: string): Map<string, string> {
  const text = readFileSync(document, 'utf8');
  const files = text.matchAll(/^<!-- file: (?<name>\S+) -->\n+^```\w+\n(?<code>[\s\S]*?)^```$/gm);
  return new Map(
    [...files].map(({ groups }) => [
      groups?.['name'] ?? '',
      (groups?.['code'] ?? '').replaceAll(shownFolder, folder),
    ]),
  );
}

function stepsOf(code: string): Step[] {
  const steps: { command: string; output: string[] }[] = [];
  let unfinished = false;
  for (const line of code.split('\n')) {
    const last = steps.at(-1);
    if (line.startsWith('$ ')) steps.push({ command: line.slice(2), output: [] });
    else if (last !== undefined && unfinished) last.command += `\n${line}`;
    else if (line.trim() !== '') last?.output.push(line);
    unfinished = line.endsWith('\\');
  }
  return steps;
}

const marker = '--- next ---';

/** In a container process 1 can be closed even to its root; elsewhere nothing is said of it. */
const ofContainers = /^ {2}not seen {2}what process 1 has open/;

/** Runs a block in one shell; gives the lines that each of its commands printed. */
export async function runBlock(
  { steps }: ConsoleBlock,
  { folder, env, ownMounts = false }: RunPlace,
): Promise<readonly (readonly string[])[]> {
  // `$?` is the status of the command before, as it is for who types them.
  const script = steps.map(
    ({ command }) => `${command.replaceAll(shownFolder, folder)}\ns=$?; printf '\\n${marker}\\n'; (exit $s)`,
  );
  // What another test starts meanwhile in a mount namespace of its own would have these mounts too, and keep them.
  const [program, ...args] = [
    ...(ownMounts ? ['unshare', '-m', '--propagation', 'private'] : []),
    'sh',
  ] as const;
  const { stdout } = await start(
    program ?? 'sh',
    [...args, '-c', `exec 2>&1 </dev/null; cd "$0"\n${script.join('\n')}`, folder],
    { env },
  ).ended;
  return stdout
    .split(`${marker}\n`)
    .slice(0, steps.length)
    .map((output) =>
      output
        .replaceAll(folder, shownFolder)
        .split('\n')
        .filter((line) => line.trim() !== '' && !ofContainers.test(line)),
    );
}

/** What is not the same in every run, made the same. */
function settled(line: string): string {
  return line
    .trimEnd()
    .replaceAll(/\bpid \d+/g, 'pid N')
    .replaceAll(/\b\d+(?= \([a-z])/g, 'N')
    .replaceAll(/\b\d+(?= processes\b)/g, 'N')
    .replaceAll(/\buser [\w-]+/g, 'user NAME')
    .replaceAll(/\/dev\/loop\d+/g, '/dev/loopN')
    .replaceAll(/\b(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\b/g, 'TIME')
    .replaceAll(/(?<=\S) {2,}/g, '  ');
}

/** Whether printed lines are the ones that are shown. */
export function isAsShown(shown: readonly string[], printed: readonly string[]): boolean {
  const pattern = shown
    .map((line) => (line === '...' ? '(?:.*\\n)*' : `${escaped(settled(line))}\\n`))
    .join('');
  return new RegExp(`^${pattern}$`).test(printed.map((line) => `${settled(line)}\n`).join(''));
}

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&');

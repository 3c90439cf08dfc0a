/**
 * `npm run build` writes the manual pages into dist/man/: holdfast(1) and holdfastd(8) out of the table of commands, which the
 * built command prints, and holdfast.toml(5) out of the packaged configuration, whose comments explain each key.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  bold,
  example,
  heading,
  italic,
  item,
  page,
  paragraph,
  spelled,
  subheading,
  title,
} from './man-page.mjs';
import { environment, root } from './set-up.mjs';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const source = `holdfast ${version}`;
/** https://reproducible-builds.org/docs/source-date-epoch/ */
const epoch = process.env['SOURCE_DATE_EPOCH'];
const date = new Date(epoch === undefined ? Date.now() : Number(epoch) * 1000).toISOString().slice(0, 10);

function helpData() {
  const command = join(root, 'dist/command/holdfast');
  return JSON.parse(execFileSync(command, ['help', '--json'], { encoding: 'utf8', env: environment() }));
}

function optionItem({ name, short, value, valueIsOptional, help, choices, repeat, needs }) {
  const withValue = value === undefined ? name : valueIsOptional ? `${name}[=${value}]` : `${name}=${value}`;
  const head = (short === undefined ? '' : `${bold(short)}, `) + spelled(withValue);
  const more = [
    choices === undefined ? '' : ` One of ${choices.join(', ')}.`,
    needs === undefined ? '' : ` Needs \`${needs}\`.`,
    repeat ? ' Can be repeated.' : '',
  ];
  return item(head, help + more.join(''));
}

const files = [
  item(italic('/etc/holdfast/holdfast.toml'), 'The configuration of the system, `holdfast.toml`(5).'),
  item(italic('~/.config/holdfast/holdfast.toml'), "A user's own, which goes before it."),
  item(
    italic('/run/holdfast'),
    'Records, and locks without a file of their own; of a user `$XDG_RUNTIME_DIR/holdfast`, else `/tmp/holdfast-UID`.',
  ),
];
const environmentItems = [
  item(
    bold('HOLDFAST_RUNTIME_DIR'),
    'Instead of /run/holdfast. All who shall exclude each other need the same.',
  ),
  item(bold('HOLDFAST_DRIVER_PATH'), 'Folders with drivers, separated by colons, searched last.'),
  item(bold('HOLDFAST_HOLD'), 'Set for the command of `run`: the name of its hold.'),
  item(bold('NO_COLOR'), 'No colours, also on a terminal.'),
];

function commandPage({ commands, exitStatuses }) {
  return page(
    title('holdfast', 1, date, source, 'lock virtual machine disks, and say who has them'),
    heading('synopsis'),
    ...commands.map(({ usage }, index) => `${index === 0 ? '' : '.br\n'}${spelled(usage)}\n`),
    heading('description'),
    paragraph(
      'Holdfast keeps two programs from writing to the same virtual machine disk: on one host, and on several that ' +
        'share a file system. It locks what a guest writes, runs a command under these locks, and says who is in ' +
        'the way. It needs no daemon; with `holdfastd`(8) libvirt and others leave the locks to one.',
    ),
    heading('commands'),
    ...commands.flatMap(({ name, summary, about, options, examples }) => [
      subheading(`holdfast ${name}`),
      paragraph(summary),
      about === '' ? '' : paragraph(about.replaceAll('\n', ' ')),
      ...options.map(optionItem),
      ...examples.map(({ says, line }) => example(says, line)),
    ]),
    heading('exit status'),
    ...exitStatuses.map(({ status, meaning }) => item(bold(status), meaning)),
    heading('environment'),
    ...environmentItems,
    heading('files'),
    ...files,
    heading('see also'),
    '.BR holdfastd (8),\n.BR holdfast.toml (5),\n.BR virsh (1),\n.BR virtlockd (8)\n',
  );
}

function daemonPage({ commands }) {
  const { about, options } = commands.find(({ name }) => name === 'serve');
  return page(
    title('holdfastd', 8, date, source, 'lock daemon for libvirt and for others'),
    heading('synopsis'),
    `${bold('holdfastd')} [${italic('OPTIONS')}]\n.br\n${bold('holdfast serve')} [${italic('OPTIONS')}]\n`,
    heading('description'),
    paragraph(
      'An unmodified libvirt with lock_manager = "lockd" talks to it in virtlockd\'s place; all others ask through its ' +
        'API. It locks the same bytes of the same files as `virtlockd`(8), so both exclude each other on hosts that ' +
        'share storage. On one host only one of them runs.',
    ),
    paragraph(about.replaceAll('\n', ' ')),
    heading('options'),
    ...options.map(optionItem),
    heading('signals'),
    item(
      bold('SIGHUP'),
      'Starts the installed build in place of the one that runs; no lock is given up (`systemctl reload`).',
    ),
    item(
      bold('SIGTERM'),
      'Ends it, and all that it holds with it; what guests hold is taken again at the next start.',
    ),
    heading('files'),
    item(
      italic('/run/libvirt/virtlockd-sock'),
      "Where libvirt looks for its lock daemon; of a user's session, below its runtime directory.",
    ),
    item(italic('/run/holdfast/api.sock'), 'Where all others find it.'),
    item(
      italic('/run/holdfast/lockd.journal'),
      'What libvirt holds: taken again when all processes of the daemon have ended.',
    ),
    item(italic('/run/virtlockd.pid'), "virtlockd's own, held so that none starts."),
    ...files,
    heading('see also'),
    '.BR holdfast (1),\n.BR holdfast.toml (5),\n.BR virtlockd (8)\n',
  );
}

/** Blocks of the packaged configuration, each a comment and the keys or the table that it is about. */
function configurationBlocks() {
  const text = readFileSync(join(root, 'packaging/holdfast.toml'), 'utf8');
  return text.split(/\n{2,}/).map((block) => {
    const lines = block.trim().split('\n');
    return {
      about: lines
        .filter((line) => line.startsWith('# '))
        .map((line) => line.slice(2))
        .join(' '),
      keys: lines.filter((line) => /^#[^ ]/.test(line)).map((line) => line.slice(1)),
    };
  });
}

function configurationPage() {
  const [intro, ...blocks] = configurationBlocks();
  return page(
    title('holdfast.toml', 5, date, source, 'configuration of Holdfast'),
    heading('description'),
    paragraph(intro.about.replaceAll("'#'", '`#`')),
    paragraph('A wrong key or value is an error that names its line and column.'),
    heading('keys'),
    ...blocks.map(({ about, keys: [key] }) =>
      key.startsWith('[') ? subheading(key) + paragraph(about) : item(bold(key), about),
    ),
    heading('files'),
    ...files.slice(0, 2),
    heading('see also'),
    '.BR holdfast (1),\n.BR holdfastd (8)\n',
  );
}

const folder = join(root, 'dist/man');
mkdirSync(folder, { recursive: true });
const data = helpData();
const pages = {
  'holdfast.1': commandPage(data),
  'holdfastd.8': daemonPage(data),
  'holdfast.toml.5': configurationPage(),
};
for (const [name, text] of Object.entries(pages)) writeFileSync(join(folder, name), text);

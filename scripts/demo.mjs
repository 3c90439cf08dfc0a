/**
 * What `npm start` shows: what Holdfast is for, with real programs in a scratch folder. Needs no root. Ends with 0 only if
 * all that it tells really happened.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environment, root } from './set-up.mjs';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-demo-'));
const env = { ...environment(), HOLDFAST_RUNTIME_DIR: join(folder, 'holds'), XDG_CONFIG_HOME: folder };
const holdfast = process.env['HOLDFAST_COMMAND'] ?? join(root, 'dist/command/holdfast');
const inUse = 75;
/** QEMU under TCG on a slow machine; nothing waits that long where all is well. */
const patienceMs = 30_000;

/** What is still running; ended whatever happens. */
const started = new Set();

const isTerminal = process.stdout.isTTY && !process.env['NO_COLOR'];
const bold = (text) => (isTerminal ? `\u001B[1m${text}\u001B[0m` : text);
const tell = (text) => process.stdout.write(`\n# ${text}\n`);

function installed(program) {
  return env.PATH.split(':').some((one) => existsSync(join(one, program)));
}

function show(argv, background = false) {
  const words = argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`));
  process.stdout.write(`${bold(`$ ${words.join(' ')}${background ? ' &' : ''}`)}\n`);
}

/** Shows a command, runs it, shows its output; fails unless its status is the one that was promised. */
function run(argv, promised = 0) {
  show(argv);
  const [name, ...args] = argv;
  const file = name === 'holdfast' ? holdfast : name;
  const { status, stdout, stderr } = spawnSync(file, args, { cwd: folder, env, encoding: 'utf8' });
  process.stdout.write(stdout + stderr);
  if (status !== promised) throw new Error(`${name} ended with ${status}, not with ${promised}`);
  return stdout + stderr;
}

function runInBackground(argv) {
  show(argv, true);
  const [, ...args] = argv;
  const child = spawn(holdfast, args, { cwd: folder, env, stdio: ['ignore', 'inherit', 'inherit'] });
  started.add(child);
  child.once('exit', () => started.delete(child));
  return child;
}

async function until(what, condition) {
  const end = Date.now() + patienceMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not happen in ${patienceMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function isListed(pid) {
  const { stdout } = spawnSync(holdfast, ['list', '--json'], { cwd: folder, env, encoding: 'utf8' });
  return stdout.includes(`"pid":${pid}`) || stdout.includes(`"pid": ${pid}`);
}

function promise(text, ...words) {
  const missing = words.find((word) => !text.includes(word));
  if (missing !== undefined) throw new Error(`it should have said '${missing}'`);
}

function domainXml(format) {
  return `<domain type='qemu'>
  <name>web1</name>
  <uuid>5f1c4b2a-7c35-4a0e-9a31-0d6b0f6e8a11</uuid>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='${format}'/>
      <source file='${join(folder, `web1.${format}`)}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
`;
}

/** One process: whatever a shell had started last would keep the locks for as long as it runs. */
function plainWriter(disk) {
  return `const fs = require("fs"); const fd = fs.openSync("${disk}", "r+"); setInterval(() => fs.writeSync(fd, Date(), 0), 100)`;
}

async function demo() {
  const hasImages = installed('qemu-img');
  const format = hasImages ? 'qcow2' : 'raw';
  const disk = `web1.${format}`;

  tell('The disk of a guest.');
  if (hasImages) {
    run(['qemu-img', 'create', '-q', '-f', 'qcow2', 'base.qcow2', '64M']);
    run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', disk]);
  } else {
    run(['truncate', '-s', '64M', disk]);
  }
  tell('The guest, as libvirt describes it.');
  writeFileSync(join(folder, 'guest.xml'), domainXml(format));
  run(['cat', 'guest.xml']);

  tell('What would be locked? Nothing is, yet.');
  run(['holdfast', 'plan', '--xml', 'guest.xml']);

  tell(
    'Lock it all, and start the guest under these locks. Holdfast becomes the command: no process stays behind.',
  );
  const qemu = ['qemu-system-x86_64', '-accel', 'tcg', '-m', '64', '-nodefaults', '-display', 'none', '-S'];
  const command = installed(qemu[0])
    ? [...qemu, '-name', 'web1', '-drive', `file=${disk},format=${format},if=virtio`]
    : ['node', '-e', plainWriter(disk)];
  const first = runInBackground(['holdfast', 'run', '--xml', 'guest.xml', '--', ...command]);
  await until('the lock', () => isListed(first.pid));

  tell('Someone starts it a second time. It is refused, and told who is in the way.');
  const refusal = run(['holdfast', 'run', '--xml', 'guest.xml', '--', ...command], inUse);
  promise(refusal, 'web1', `pid ${first.pid}`);

  tell('So is someone who only has the path of the disk.');
  promise(run(['holdfast', 'run', '--disk', disk, '--', 'cp', disk, 'copy'], inUse), 'web1');

  tell('Who holds what?');
  promise(run(['holdfast', 'list']), 'web1', String(first.pid));

  tell('The guest ends, and its locks with it.');
  show(['kill', String(first.pid)]);
  first.kill();
  await until('the end of the first', () => !started.has(first));

  tell('Now the second one may start.');
  promise(run(['holdfast', 'run', '--xml', 'guest.xml', '--', 'echo', 'started']), 'started');
  run(['holdfast', 'list']);
  tell('That is all. Go on with: node dist/command/holdfast help');
}

try {
  await demo();
} catch (error) {
  process.stderr.write(`\nThis went wrong: ${error.message}\n`);
  process.exitCode = 1;
} finally {
  for (const child of started) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}

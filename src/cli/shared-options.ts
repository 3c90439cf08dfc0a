/** Options that several commands have. */
import type { OptionEntry } from './command-entry.js';

export const help: OptionEntry = { name: 'help', short: 'h', help: 'Print the help of this command.' };
export const json: OptionEntry = { name: 'json', help: 'Print data instead of text; errors too.' };
export const config: OptionEntry = {
  name: 'config',
  value: 'FILE',
  help: 'Read this configuration (TOML) and no other.',
};

export const input: readonly OptionEntry[] = [
  {
    name: 'xml',
    value: 'FILE',
    repeat: true,
    help: "The guest's domain XML, as virsh dumpxml prints it; - is stdin.",
  },
  {
    name: 'domain',
    value: 'NAME|UUID',
    repeat: true,
    help: 'A guest that libvirt knows: asks virsh for its XML.',
  },
  {
    name: 'connect',
    value: 'URI',
    help: 'Which libvirt to ask, such as qemu:///system: for --domain, and for volumes in the XML.',
  },
  {
    name: 'disk',
    value: 'PATH[:MODE][:format=FORMAT]',
    repeat: true,
    help:
      'A disk image, block device or directory. MODE is exclusive (the default), shared, read, or peek (no lock). ' +
      'Who writes without any lock keeps out exclusive and shared; read only says so. ' +
      'FORMAT, such as qcow2, lets base images be found.',
  },
  {
    name: 'lease',
    value: 'LOCKSPACE:KEY[:PATH[:OFFSET]]',
    repeat: true,
    help: "A lease, as libvirt's <lease> describes it.",
  },
  {
    name: 'name',
    value: 'NAME',
    help: 'Who holds, for those who are refused; without it the guest or the command.',
  },
];

export const driver: OptionEntry = {
  name: 'driver',
  value: 'LIST',
  help: 'The drivers to lock with, in this order, joined by commas (default: fcntl).',
};

export const conflictExitCode: OptionEntry = {
  name: 'conflict-exit-code',
  short: 'E',
  value: 'N',
  form: 'exit status',
  help: 'The exit status if something is in use, instead of 75.',
};

export const allowUnlocked: OptionEntry = {
  name: 'allow-unlocked',
  help: 'Go on where no lock can be had, or where someone writes without one. Dangerous.',
};

export const wait: OptionEntry = {
  name: 'wait',
  value: 'TIME',
  form: 'duration',
  valueIsOptional: true,
  help: 'Wait for what is in use: --wait for ever; --wait=30s, 5m, 1h, or a number of seconds; --wait=0 not at all.',
};

export const onLost = {
  name: 'on-lost',
  value: 'ACTION',
  choices: ['poweroff', 'restart', 'pause', 'ignore'],
};

export const locking: readonly OptionEntry[] = [
  driver,
  config,
  allowUnlocked,
  {
    name: 'qemu-lock',
    value: 'WHAT',
    choices: ['check', 'hold', 'off'],
    help: "QEMU's own image locks: check (the default) tests them; hold also takes them, for a command that is not QEMU.",
  },
  conflictExitCode,
];

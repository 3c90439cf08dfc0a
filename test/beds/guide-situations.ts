/** The situations that docs/guides/ speaks of: a folder with images, and somebody real who uses one of them. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Part } from '../needs.js';
import { holdfast, start, type Running } from './command.js';
import { shownFiles } from './console-block.js';
import { guestfishCommand, guestfishEnvironment, startGuestfish } from './guestfish.js';
import { startLibvirtHost } from './libvirt-host.js';
import { domainXml, end, qcow2Disk, startQemu, type QemuDrive } from './qemu.js';
import { makeLease, makeLockspace, startSanlock } from './sanlock.js';
import { SystemdHost } from './systemd-host.js';
import { until } from './until.js';

export interface Place {
  /** Where the commands are run. */
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  /** Its commands mount something. */
  readonly ownMounts?: boolean;
  end(): Promise<void>;
}

interface Situation {
  readonly parts: readonly Part[];
  begin(parent: string, document: URL): Promise<Place>;
}

const diskBytes = 64 << 20;

/** Enough of a Debian for libguestfs to know one. */
function makeGuestRoot(root: string): void {
  for (const each of ['bin', 'etc', 'root', 'usr/bin', 'usr/sbin', 'var/lib/dpkg'])
    mkdirSync(join(root, each), { recursive: true });
  copyFileSync('/bin/ls', join(root, 'bin/ls'));
  const files = {
    'etc/hostname': 'web1\n',
    'etc/debian_version': '12.8\n',
    'etc/fstab': '/dev/sda / ext4 defaults 0 1\n',
    'etc/os-release': 'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n',
    'var/lib/dpkg/status': '',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
}

let images: string | undefined;

/** Made once for all: web1.img and restore.img, raw, and web1.qcow2, each with a small system in it. */
function madeImages(parent: string): string {
  if (images !== undefined) return images;
  images = mkdtempSync(join(parent, 'made-'));
  makeGuestRoot(join(images, 'root'));
  const raw = join(images, 'web1.img');
  writeFileSync(raw, '');
  truncateSync(raw, diskBytes);
  const path = `${process.env['PATH']}:/usr/sbin:/sbin`;
  execFileSync('mkfs.ext4', ['-q', '-d', join(images, 'root'), raw], { env: { ...process.env, PATH: path } });
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, join(images, 'web1.qcow2')]);
  return images;
}

/** A fresh folder with the images, the files that the document shows, and `holdfast` in PATH. */
function freshFolder(parent: string, document: URL): Omit<Place, 'end'> {
  const folder = mkdtempSync(join(parent, 'images-'));
  const made = madeImages(parent);
  for (const name of ['web1.img', 'web1.qcow2']) copyFileSync(join(made, name), join(folder, name));
  copyFileSync(join(made, 'web1.img'), join(folder, 'restore.img'));
  for (const [name, text] of shownFiles(document, folder)) writeFileSync(join(folder, name), text);
  const bin = join(folder, '.bin');
  mkdirSync(bin);
  symlinkSync(holdfast, join(bin, 'holdfast'));
  const env = {
    ...guestfishEnvironment,
    LC_ALL: 'C',
    PATH: `${bin}:${process.env['PATH']}:/usr/sbin:/sbin`,
  };
  return { folder, env };
}

const base: readonly Part[] = ['qemu-img', 'mkfs.ext4'];

const alone = (...parts: readonly Part[]): Situation => ({
  parts: [...base, ...parts],
  begin: (parent, document) =>
    Promise.resolve({ ...freshFolder(parent, document), end: () => Promise.resolve() }),
});

/** A situation in which one more program runs. */
function beside(parts: readonly Part[], begin: (folder: string) => Promise<Running> | Running): Situation {
  return {
    parts: [...base, ...parts],
    async begin(parent, document) {
      const place = freshFolder(parent, document);
      const running = await begin(place.folder);
      return { ...place, end: () => end(running) };
    },
  };
}

const guest = (name: string, format: QemuDrive['format']): Situation =>
  beside(['qemu'], (folder) => startQemu('web1', { path: join(folder, name), format }));

async function opened(running: Running, path: string): Promise<Running> {
  await until(
    () => execFileSync('ls', ['-l', `/proc/${running.pid}/fd`], { encoding: 'utf8' }).includes(path),
    () => `${path} to be opened: ${running.stderr}`,
  );
  return running;
}

const libvirtGuest: Situation = {
  parts: [...base, 'root', 'unshare', 'libvirtd', 'virtlockd', 'virsh', 'qemu'],
  async begin(parent, document) {
    const place = freshFolder(parent, document);
    const host = await startLibvirtHost(place.folder);
    const xml = join(place.folder, '.web1.xml');
    writeFileSync(xml, domainXml('web1', [{ path: join(place.folder, 'web1.qcow2'), format: 'qcow2' }]));
    host.virsh('define', xml);
    host.virsh('start', 'web1');
    return { ...place, env: { ...place.env, LIBVIRT_DEFAULT_URI: host.uri }, end: () => host.stop() };
  },
};

/** Programs of the host of a bed, by their names. */
function programsOf(host: SystemdHost, { folder, env }: Omit<Place, 'end'>): NodeJS.ProcessEnv {
  const bin = join(folder, '.bin-host');
  mkdirSync(bin);
  for (const name of ['systemctl', 'virsh', 'holdfast']) {
    // There, its name has to be the program's again.
    const script = `#!/bin/sh\nexec ${host.enter.join(' ')} -C "$PWD" PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin ${name} "$@"\n`;
    writeFileSync(join(bin, name), script, { mode: 0o755 });
  }
  return { ...env, PATH: `${bin}:${env['PATH']}`, LIBVIRT_DEFAULT_URI: 'qemu:///system' };
}

/** A host with systemd, the units of the package, and a guest of libvirt. */
const underSystemd = (locks: 'virtlockd' | 'holdfastd'): Situation => ({
  parts: [...base, 'root', 'unshare', 'systemd', 'libvirtd', 'virtlockd', 'virsh', 'qemu'],
  async begin(parent, document) {
    const place = freshFolder(parent, document);
    const host = await SystemdHost.start(place.folder);
    try {
      host.installUnits();
      await host.run('systemctl', 'daemon-reload');
      if (locks === 'virtlockd')
        await host.run('systemctl', 'enable', '--now', 'virtlockd.socket', 'virtlockd-admin.socket');
      else {
        await host.run('systemctl', 'mask', 'virtlockd.service', 'virtlockd-admin.socket');
        await host.run('systemctl', 'enable', '--now', 'holdfastd.service');
      }
      const xml = join(place.folder, '.web1.xml');
      writeFileSync(xml, domainXml('web1', [{ path: join(place.folder, 'web1.qcow2'), format: 'qcow2' }]));
      for (const words of [
        ['define', xml],
        ['start', 'web1'],
      ])
        await host.run('virsh', '-c', 'qemu:///system', ...words);
      return { ...place, env: programsOf(host, place), end: () => host.stop() };
    } catch (error) {
      await host.stop();
      throw error;
    }
  },
});

/** What a block that failed half-way has left. */
function detach(folder: string): Promise<void> {
  for (const command of [`umount mnt`, `losetup -j web1.img -O NAME -n | xargs -r losetup -d`]) {
    spawnSync('sh', ['-c', command], { cwd: folder, stdio: 'ignore' });
  }
  return Promise.resolve();
}

/** A PATH whose `holdfast` is run by another user, from a copy: the checkout may lie in a home. */
function asNobody(parent: string, { folder, env }: Place): string {
  const copy = join(folder, '.installed');
  cpSync(dirname(holdfast), join(copy, 'dist/command'), { recursive: true });
  const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));
  for (const name of ['koffi', '@koromix'])
    cpSync(join(modules, name), join(copy, 'node_modules', name), { recursive: true });
  for (const each of [parent, folder]) chmodSync(each, 0o755);
  const bin = join(folder, '.bin-nobody');
  mkdirSync(bin);
  const user = 'setpriv --reuid 65534 --regid 65534 --clear-groups';
  const own = 'env -u XDG_CONFIG_HOME -u XDG_RUNTIME_DIR HOME=/nonexistent HOLDFAST_RUNTIME_DIR=/nonexistent';
  const command = `#!/bin/sh\nexec ${user} ${own} '${join(copy, 'dist/command/holdfast')}' "$@"\n`;
  writeFileSync(join(bin, 'holdfast'), command, { mode: 0o755 });
  return `${bin}:${env['PATH']}`;
}

/** By the words of the comment in the document. */
export const situations = {
  nobody: alone(),
  'nobody, unshare': alone('root', 'unshare'),
  'nobody, sanlock': alone('sanlock'),
  'nobody, sanlock joined': {
    parts: [...base, 'sanlock'],
    async begin(parent, document) {
      const place = freshFolder(parent, document);
      const leases = await makeLockspace(join(place.folder, 'leases.img'), 'vms');
      await makeLease(leases, 0, 'web1');
      const host = await startSanlock(place.folder, 'alpha');
      try {
        await host.join(leases, 1);
      } catch (error) {
        await host.stop();
        throw error;
      }
      return { ...place, env: { ...place.env, ...host.env }, end: () => host.stop() };
    },
  },
  'nobody, loop device': {
    parts: [...base, 'root', 'losetup', 'unshare'],
    begin: (parent, document) => {
      const place = freshFolder(parent, document);
      return Promise.resolve({ ...place, ownMounts: true, end: () => detach(place.folder) });
    },
  },
  'nobody, libguestfs': alone('guestfish'),
  'nobody, guestmount': alone('guestfish', 'guestmount'),
  'guest on web1.qcow2': guest('web1.qcow2', 'qcow2'),
  'guest on web1.img': guest('web1.img', 'raw'),
  'guest on web1.qcow2, libguestfs': {
    ...guest('web1.qcow2', 'qcow2'),
    parts: [...base, 'qemu', 'guestfish'],
  },
  'overlay guest on web1.qcow2': beside(['qemu'], (folder) => {
    const below = { path: join(folder, 'web1.qcow2'), format: 'qcow2' } as const;
    return startQemu('web2', { path: qcow2Disk(join(folder, 'web2.qcow2'), below), format: 'qcow2' });
  }),
  'guest on web1.qcow2, another user asks': {
    parts: [...base, 'root', 'setpriv', 'qemu'],
    async begin(parent, document) {
      const place = await guest('web1.qcow2', 'qcow2').begin(parent, document);
      return { ...place, env: { ...place.env, PATH: asNobody(parent, place) } };
    },
  },
  'libvirt guest on web1.qcow2': libvirtGuest,
  'systemd with virtlockd, guest web1': underSystemd('virtlockd'),
  'systemd with holdfastd, guest web1': underSystemd('holdfastd'),
  'guestfish on web1.qcow2': beside(['guestfish'], (folder) => {
    const [program, ...args] = guestfishCommand(join(folder, 'web1.qcow2'), 'qcow2');
    return startGuestfish(program, args);
  }),
  'guestfish under run on web1.qcow2': beside(['guestfish'], (folder) => {
    const path = join(folder, 'web1.qcow2');
    const disk = `${path}:format=qcow2`;
    return startGuestfish(holdfast, ['run', '--disk', disk, '--', ...guestfishCommand(path, 'qcow2')]);
  }),
  'dd writes web1.img': beside([], (folder) => {
    const path = join(folder, 'web1.img');
    return opened(start('dd', [`of=${path}`, 'conv=notrunc']), path);
  }),
} satisfies Record<string, Situation>;

export const isSituation = (name: string): name is keyof typeof situations => Object.hasOwn(situations, name);

/**
 * The guard of the host's guests where systemd starts the daemon: an end of the service, in whatever way, leaves no guest running
 * longer than its lock in the cluster, and one that is followed by a start costs no guest.
 */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { commandFolder, start, type Running } from '../beds/command.js';
import { LockClient } from '../beds/lock-client.js';
import { rawDisk } from '../beds/qemu.js';
import { SystemdHost } from '../beds/systemd-host.js';
import { until } from '../beds/until.js';
import { UserManager } from '../beds/user-manager.js';
import { lacks } from '../needs.js';

const nobody = 65_534;
const folder = commandFolder();
const configuration = join(folder, 'holdfast.toml');
const settings = `[driver.etcd]\nendpoints = ["http://127.0.0.1:2379"]\nttl = 10\nreserve = "0s"\n`;
const override = `[Service]
ExecStart=
ExecStart=holdfastd --config ${configuration} --driver etcd,fcntl
`;

describe(
  'the guard of the host, under systemd',
  { skip: lacks('root', 'unshare', 'systemd', 'etcd', 'setpriv') },
  () => {
    let host: SystemdHost;
    let disks = 0;
    before(async () => {
      writeFileSync(configuration, settings, { mode: 0o600 });
      host = await SystemdHost.start(folder);
      host.start('etcd', '--data-dir', join(folder, 'etcd'));
      host.installUnits();
      host.configure('holdfastd.service', override);
      await host.run('systemctl', 'daemon-reload');
    });
    after(() => host?.stop());
    beforeEach(async () => {
      writeFileSync(configuration, settings, { mode: 0o600 });
      await host.try('systemctl', 'reset-failed');
      await host.run('systemctl', 'start', 'holdfastd.service');
      await serves();
    });

    const shown = (property: string): Promise<string> =>
      host.run('systemctl', 'show', '-p', property, '--value', 'holdfastd.service');

    const journal = async (): Promise<string> =>
      (await host.try('journalctl', '--no-pager', '-o', 'cat', '-u', 'holdfastd.service')).stdout;

    /** `before`: the keeper's pid, if it is to be another one. */
    async function serves(before = ''): Promise<void> {
      const until30 = async (): Promise<boolean> =>
        (await shown('ActiveState')) === 'active' && (await shown('MainPID')) !== before;
      await until(until30, 'the service', 60_000).catch(async (error: unknown) => {
        throw new Error(`${String(error)}: ${await journal()}`);
      });
    }

    interface Guest {
      readonly disk: string;
      readonly pid: number;
      readonly process: Running;
    }

    const lives = ({ process }: Guest): boolean =>
      process.child.exitCode === null && process.child.signalCode === null;

    /** One that takes no notice of SIGTERM, with a disk that is locked in the cluster. */
    async function guestWithDisk(socket = 'run/libvirt/virtlockd-sock', as?: UserManager): Promise<Guest> {
      const disk = join(folder, `disk${++disks}.raw`);
      rawDisk(disk);
      if (as !== undefined) chownSync(disk, nobody, nobody);
      const words = ['sh', '-c', 'trap "" TERM; echo $$; while :; do sleep 1; done'] as const;
      const [program, ...args] = [...(as?.enter ?? host.enter), ...words];
      const process = start(program, args);
      await process.says('\n');
      const pid = Number(process.stdout);
      const client = await LockClient.connect(join(host.root, socket));
      const owner = { uuid: Buffer.alloc(16, disks), name: `guest${disks}`, id: disks, pid };
      assert.equal(await client.call({ call: 'register', owner, flags: 0 }), undefined);
      const refused = await client.call({ call: 'acquire', path: '', name: disk, flags: 0 });
      assert.equal(refused, undefined, await journal());
      client.close();
      return { disk, pid, process };
    }

    /** Whether the guest still ran when somebody else got its disk. */
    async function ranWhenTaken({ disk, pid }: Pick<Guest, 'disk' | 'pid'>): Promise<boolean> {
      const words = ['--config', configuration, '--driver', 'etcd', '--wait=60s', '--disk', disk];
      const look = `kill -0 ${pid} 2>/dev/null && echo it runs || echo it is gone`;
      const { stdout, stderr } = await host.try('holdfast', 'run', ...words, '--', 'sh', '-c', look);
      assert.match(stdout, /^it (runs|is gone)$/m, stderr);
      return stdout.includes('it runs');
    }

    test('stopped: the guests are ended before somebody else can have their disks', async () => {
      const guest = await guestWithDisk();
      await host.run('systemctl', 'stop', 'holdfastd.service', 'holdfastd.socket', 'holdfastd-api.socket');
      assert.equal(await ranWhenTaken(guest), false);
      await until(() => !lives(guest), 'its end');
    });

    for (const [what, args] of [
      ['started anew', ['restart', 'holdfastd.service']],
      ['killed, all of it', ['kill', '--signal=KILL', '--kill-whom=all', 'holdfastd.service']],
    ] as const) {
      test(`${what}: the guests are not touched, and stay guarded`, async () => {
        const guest = await guestWithDisk();
        const keeper = await shown('MainPID');
        await host.run('systemctl', ...args);
        await serves(keeper);
        await new Promise((resolve) => setTimeout(resolve, 12_000));
        assert.ok(lives(guest), await journal());
        await host.run('systemctl', 'stop', 'holdfastd.service', 'holdfastd.socket', 'holdfastd-api.socket');
        assert.equal(await ranWhenTaken(guest), false);
      });
    }

    test('killed, and the next one cannot start: the guests are ended in time', async () => {
      const guest = await guestWithDisk();
      writeFileSync(configuration, `${settings}nonsense = 1\n`, { mode: 0o600 });
      await host.run('systemctl', 'kill', '--signal=KILL', '--kill-whom=all', 'holdfastd.service');
      await until(() => !lives(guest), 'its end', 60_000);
      writeFileSync(configuration, settings, { mode: 0o600 });
      assert.equal(await ranWhenTaken(guest), false);
    });

    test('stopped without guests: nothing of it is left', async () => {
      const guest = await guestWithDisk();
      await host.run('kill', '-KILL', String(guest.pid));
      await until(async () => !(await ranWhenTaken(guest)), 'the lock to be free');
      await host.run('systemctl', 'stop', 'holdfastd.service', 'holdfastd.socket', 'holdfastd-api.socket');
      await until(
        async () => (await host.try('pgrep', '-f', 'guard.js processes')).stdout.trim() === '',
        'the guard to end',
      );
    });

    test('systemd gives the guard no scope: the log says so, and it guards as long as the service is there', async () => {
      await host.run('systemctl', 'stop', 'holdfastd.service');
      await host.run('mount', '--bind', '/bin/false', '/usr/bin/systemd-run');
      try {
        await host.run('systemctl', 'start', 'holdfastd.service');
        await serves();
        const guest = await guestWithDisk();
        assert.match(await journal(), /guard ends with the service/);
        const keeper = await shown('MainPID');
        const daemons = (await host.run('pgrep', '-P', keeper)).split('\n').filter((pid) => pid !== '');
        await host.run('kill', '-STOP', keeper, ...daemons);
        assert.equal(await ranWhenTaken(guest), false);
        await host.run('kill', '-CONT', keeper, ...daemons);
      } finally {
        await host.run('umount', '/usr/bin/systemd-run');
        await host.run('systemctl', 'kill', '--signal=KILL', '--kill-whom=all', 'holdfastd.service');
      }
    });

    test("a user's own daemon: its guard has a scope of the user's systemd, and outlives the service", async () => {
      await host.run('systemctl', 'stop', 'holdfastd.service', 'holdfastd.socket', 'holdfastd-api.socket');
      chmodSync(folder, 0o755);
      const user = await UserManager.start(host, folder, nobody);
      const own = join(folder, 'home/holdfast.toml');
      writeFileSync(own, settings, { mode: 0o600 });
      chownSync(own, nobody, nobody);
      const units = join(folder, 'home/.config/systemd/user/holdfastd.service.d');
      mkdirSync(units, { recursive: true });
      writeFileSync(join(units, 'override.conf'), override.replace(configuration, own));
      const systemctl = (...words: string[]): Promise<string> => user.run('systemctl', '--user', ...words);
      await systemctl('daemon-reload');
      await systemctl('start', 'holdfastd.socket', 'holdfastd-api.socket', 'holdfastd.service');
      const guest = await guestWithDisk(`run/user/${nobody}/libvirt/virtlockd-sock`, user);
      assert.match(await systemctl('list-units', '--type=scope', '--state=running'), /holdfast-guard-/);
      await systemctl('stop', 'holdfastd.socket', 'holdfastd-api.socket', 'holdfastd.service');
      assert.equal(await ranWhenTaken(guest), false);
    });

    for (const mode of ['mixed', 'control-group', 'process'] as const) {
      test(`holdfast run as a service, KillMode=${mode}: killed, and its command is ended before anybody gets the disk`, async () => {
        const disk = join(folder, `disk${++disks}.raw`);
        const said = join(folder, `pid-${mode}`);
        rawDisk(disk);
        const words = ['--config', configuration, '--driver', 'etcd', '--disk', disk];
        const command = `sh -c 'trap "" TERM; echo $$$$ >${said}; while :; do sleep 1; done'`;
        const unit = `guest-${mode}.service`;
        host.addUnit(
          unit,
          `[Service]\nKillMode=${mode}\nExecStart=holdfast run ${words.join(' ')} -- ${command}\n`,
        );
        await host.run('systemctl', 'daemon-reload');
        await host.run('systemctl', 'start', unit);
        await until(() => existsSync(said) && readFileSync(said, 'utf8').endsWith('\n'), 'the command');
        const pid = Number(readFileSync(said, 'utf8'));
        await host.run('systemctl', 'kill', '--signal=KILL', '--kill-whom=main', unit);
        assert.equal(await ranWhenTaken({ disk, pid }), false);
      });
    }
  },
);

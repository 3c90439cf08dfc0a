/** A user's own systemd (`systemd --user`) on a host of systemd-host.ts, as user@.service starts it, but without PAM and logind. */
import { chownSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ended } from './command.js';
import { packagedUnits, type SystemdHost } from './systemd-host.js';

/** Control groups below its own are the user's to make; `/run/user/UID` is what logind would make. */
const serviceOf = (uid: number, home: string): string => `[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=${uid}
Group=${uid}
RuntimeDirectory=user/${uid}
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR=/run/user/${uid} HOME=${home}
ExecStart=/lib/systemd/systemd --user --unit=first.target
Delegate=yes
KillMode=mixed
`;

/** Nothing of the machine's own. */
const firstTarget = '[Unit]\nDefaultDependencies=no\n';

export class UserManager {
  readonly #host: SystemdHost;
  readonly #uid: number;
  readonly #home: string;

  private constructor(host: SystemdHost, uid: number, home: string) {
    this.#host = host;
    this.#uid = uid;
    this.#home = home;
  }

  /** `parent`: a folder that the user can reach. The units of the package are installed for it. */
  static async start(host: SystemdHost, parent: string, uid: number): Promise<UserManager> {
    const home = join(parent, 'home');
    const units = join(home, '.local/share/systemd/user');
    mkdirSync(units, { recursive: true });
    for (const name of readdirSync(join(packagedUnits, 'user')))
      copyFileSync(join(packagedUnits, 'user', name), join(units, name));
    writeFileSync(join(units, 'first.target'), firstTarget);
    for (const each of ['', ...readdirSync(home, { recursive: true, encoding: 'utf8' })]) {
      chownSync(join(home, each), uid, uid);
    }
    // By this name programs tell that they stand below a user's own.
    const unit = `user@${uid}.service`;
    host.addUnit(unit, serviceOf(uid, home));
    await host.run('systemctl', 'daemon-reload');
    await host.run('systemctl', 'start', unit);
    return new UserManager(host, uid, home);
  }

  /** What runs a command as the user, to be put before it. */
  get enter(): readonly string[] {
    const id = String(this.#uid);
    const runtime = `XDG_RUNTIME_DIR=/run/user/${id}`;
    const identity = ['setpriv', `--reuid=${id}`, `--regid=${id}`, '--clear-groups'];
    return [...this.#host.enter, ...identity, 'env', runtime, `HOME=${this.#home}`];
  }

  /** As `SystemdHost.run`, as the user. */
  run(...command: readonly string[]): Promise<string> {
    const [program = '', ...args] = this.enter.slice(this.#host.enter.length);
    return this.#host.run(program, ...args, ...command);
  }

  try(...command: readonly string[]): Promise<Ended> {
    const [program = '', ...args] = this.enter.slice(this.#host.enter.length);
    return this.#host.try(program, ...args, ...command);
  }
}

/**
 * Tells the service manager how it stands (sd_notify(3)). The daemon knows that, and its parent, the keeper, is the main
 * process of the unit: so the unit needs `NotifyAccess=all`.
 *
 * It never says STOPPING=1: a daemon that is replaced stops as well, and systemd would then end the whole service.
 */
import { sendDatagram } from '../system/datagram.js';

/** Half of the time that the service manager waits (sd_watchdog_enabled(3) recommends it). */
const watchdogShare = 2;

export class ServiceManager {
  readonly #path: string | undefined;
  readonly #watchdogMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(environment: NodeJS.ProcessEnv = process.env) {
    const { NOTIFY_SOCKET: path, WATCHDOG_USEC: watchdog } = environment;
    this.#path = path === '' ? undefined : path;
    const microseconds = Number(watchdog);
    this.#watchdogMs =
      watchdog !== undefined && microseconds > 0 ? microseconds / 1000 / watchdogShare : undefined;
  }

  /** It serves. From now on the service manager is told that it is alive, if it wants to know. */
  ready(status: string): void {
    this.#tell('READY=1', `STATUS=${status}`);
    if (this.#watchdogMs === undefined || this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#tell('WATCHDOG=1'), this.#watchdogMs);
    this.#timer.unref();
  }

  status(text: string): void {
    this.#tell(`STATUS=${text}`);
  }

  #tell(...lines: readonly string[]): void {
    if (this.#path === undefined) return;
    try {
      sendDatagram(this.#path, lines.map((line) => line.replaceAll('\n', ' ')).join('\n'));
    } catch {
      // It is gone, or does not listen: that is no reason to stop serving.
    }
  }
}

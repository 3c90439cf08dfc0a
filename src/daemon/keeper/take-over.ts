/** A keeper that takes the place of another one: `--take-over`. The other side is successor.ts. */
import { closeSync } from 'node:fs';
import { HoldfastError } from '../../errors.js';
import { peerCredentials } from '../../system/peer-credentials.js';
import { ownServiceUnit, reloadCommand, serviceStartedAs } from '../../system/service-unit.js';
import { connectMessages } from '../../system/unix-socket.js';
import { channelNames, type ChannelName } from './channel-names.js';
import { keepKind, KeepReader, KeepWriter, type KeepEntry } from './keep-message.js';
import { KeptThings } from './kept-things.js';
import { takeOverVersion } from './successor.js';

/** Everything that the other keeper had. Its daemon has ended. */
export interface TakenOver {
  /** As in `KeeperOptions`. */
  readonly sockets: Readonly<Record<string, number>>;
  readonly things: Readonly<Record<ChannelName, KeptThings>>;
  /** Tells the other one, which ends: from now on this process is the keeper. Throws where it is there no more. */
  readonly confirm: () => void;
}

/**
 * Asks the keeper whose private socket this is for everything, and waits until its daemon has ended. Undefined: there is
 * none. Throws where it goes away before it has given all; then nothing has happened, if it still serves. Throws `IN_USE` where
 * it is a service of systemd's, and this process stands outside.
 */
export function takeOver(path: string): TakenOver | undefined {
  let fd: number;
  try {
    fd = connectMessages(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined;
    throw error;
  }
  try {
    leaveServiceAlone(peerCredentials(fd).pid);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const writer = new KeepWriter(fd);
  writer.add(keepKind.give, 0, takeOverVersion, []);
  writer.commit();
  const reader = new KeepReader(fd, closeSync);
  const sockets: Record<string, number> = {};
  const things = { lockd: new KeptThings(), api: new KeptThings() };
  let channel: ChannelName | undefined;
  let whole = false;
  const take = (entry: KeepEntry): void => {
    const { kind, record, descriptors } = entry;
    if (kind === keepKind.end) {
      whole = true;
    } else if (kind === keepKind.socket) {
      const [socket] = descriptors;
      if (socket !== undefined) sockets[record.toString()] = socket;
    } else if (kind === keepKind.channel) {
      channel = channelNames.find((name) => name === record.toString());
    } else if (channel !== undefined) {
      things[channel].take(entry);
    }
  };
  while (!whole) {
    if (reader.read(true, take) === false) {
      closeSync(fd);
      throw new Error('the keeper went away before it had given all');
    }
  }
  return {
    sockets,
    things,
    confirm: () => {
      writer.add(keepKind.taken, 0, '', []);
      writer.commit();
      closeSync(fd);
    },
  };
}

/**
 * The sockets stay systemd's. It would start the service again in vain, close them, and bind them anew for whoever needs them, as
 * libvirtd does: then nobody would serve where everybody looks.
 */
function leaveServiceAlone(pid: number): void {
  const unit = serviceStartedAs(pid);
  if (unit === undefined || ownServiceUnit()?.name === unit.name) return;
  throw new HoldfastError(
    'IN_USE',
    `holdfastd (pid ${pid}) is systemd's ${unit.name}, whose sockets stay with systemd`,
    {
      remedy: `Let systemd put the installed build in its place: ${reloadCommand(unit)}`,
    },
  );
}

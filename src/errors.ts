/** The one error class of the project, and the table of its codes. `docs/errors.md` is compared with it. */
import type { ErrorCode, Holder, Place } from './vocabulary.js';

interface CodeEntry {
  /** The command's exit status. */
  readonly exit: number;
  readonly meaning: string;
  readonly remedy: string;
}

/** Every code: what it means, what to do in general, and the command's exit status. */
export const errorCodes: Readonly<Record<ErrorCode, CodeEntry>> = {
  USAGE: { exit: 64, meaning: 'The command line or the call is wrong.', remedy: 'See `holdfast help`.' },
  XML_SYNTAX: {
    exit: 65,
    meaning: 'The input is not well-formed XML.',
    remedy: 'Mend the XML at the place named.',
  },
  XML_FORBIDDEN: {
    exit: 65,
    meaning: 'The XML has a document type or an entity of its own; neither is ever read.',
    remedy: 'Remove the DOCTYPE; libvirt never writes one.',
  },
  XML_LIMIT: {
    exit: 65,
    meaning: 'The XML is larger than 16 MiB or deeper than 64 elements.',
    remedy: 'Give the XML of one domain, as `virsh dumpxml` prints it.',
  },
  NOT_A_DOMAIN: {
    exit: 65,
    meaning: 'The XML is not that of a domain.',
    remedy: 'Give the XML that `virsh dumpxml NAME` prints.',
  },
  BAD_DATA: {
    exit: 65,
    meaning: 'A value in the input is not what it has to be.',
    remedy: 'Mend it at the place named.',
  },
  BAD_UUID: {
    exit: 65,
    meaning: 'An uuid in the input is none.',
    remedy: 'An uuid has 32 hexadecimal digits; `uuidgen` makes one.',
  },
  NO_SOURCE: {
    exit: 65,
    meaning: 'A disk has no source where one is needed.',
    remedy: 'Give the disk a <source>; only cdrom and floppy drives may be empty.',
  },
  RELATIVE_PATH: {
    exit: 65,
    meaning: 'A path in the XML is relative; nobody knows to which folder.',
    remedy: 'Write the absolute path.',
  },
  SAME_DISK_TWICE: {
    exit: 65,
    meaning: 'The guest would have one disk twice, under two names.',
    remedy: 'Remove one of the two, or make both <shareable/> or <readonly/>.',
  },
  NO_SUCH_FILE: { exit: 66, meaning: 'A disk or file does not exist.', remedy: 'Check the path.' },
  NOT_READABLE: {
    exit: 66,
    meaning: 'A disk or file cannot be read.',
    remedy: 'Check its permissions, or run as a user who may read it.',
  },
  NOT_A_DISK: {
    exit: 66,
    meaning: 'The path is neither a regular file, nor a block device, nor a directory.',
    remedy: 'Check the path.',
  },
  NO_SUCH_DOMAIN: {
    exit: 66,
    meaning: 'libvirt knows no domain of that name.',
    remedy: 'See `virsh list --all`.',
  },
  NO_SUCH_HOLD: {
    exit: 66,
    meaning: 'The lock daemon has no such hold.',
    remedy: 'See `holdfast list`.',
  },
  LIBVIRT_UNREACHABLE: {
    exit: 69,
    meaning: 'libvirt could not be asked.',
    remedy: 'Install libvirt-clients and see that libvirtd runs, or give the XML with --xml.',
  },
  CLUSTER_UNREACHABLE: {
    exit: 69,
    meaning: 'No server of the lock cluster could be reached.',
    remedy: 'Check the endpoints, the network and whether etcd runs; nothing was locked.',
  },
  CLUSTER_NO_QUORUM: {
    exit: 69,
    meaning: 'The lock cluster is reached, but decides nothing: it has no majority, or no leader.',
    remedy: 'See `etcdctl endpoint status --cluster`, and start the servers that are missing.',
  },
  CLUSTER_NO_SPACE: {
    exit: 69,
    meaning: 'The lock cluster writes nothing any more: its database or its disk is full.',
    remedy: 'Compact and defragment etcd, then `etcdctl alarm disarm`.',
  },
  CLUSTER_AUTH: {
    exit: 77,
    meaning: 'The lock cluster does not know the user, or allows it too little.',
    remedy: 'Check the user, its password or certificate, and that its role may read and write the prefix.',
  },
  CLUSTER_TLS: {
    exit: 69,
    meaning: 'No encrypted connection to the lock cluster could be made.',
    remedy:
      'Check the certificate authority, the certificate and the key, and that the endpoints begin with https.',
  },
  CLUSTER_LIMIT: {
    exit: 69,
    meaning: 'It is more than the lock cluster takes in one transaction.',
    remedy: 'Lock fewer disks, or raise the limit in etcd and in the settings (docs/drivers.md).',
  },
  CLUSTER_COMPACTED: {
    exit: 69,
    meaning: 'The lock cluster has forgotten what had to be known of the past.',
    remedy: 'Let etcd keep its history for longer (--auto-compaction-retention).',
  },
  NOT_JOINED: {
    exit: 69,
    meaning: 'This host has not joined the lockspace of a sanlock lease.',
    remedy: 'Join it: `sanlock client add_lockspace -s LOCKSPACE:HOST_ID:PATH:OFFSET`.',
  },
  NO_LEASE: {
    exit: 66,
    meaning: 'There is no sanlock lease of that name in that place.',
    remedy: 'Check the path and the offset, or make it: `holdfast lease init LOCKSPACE:NAME:PATH:OFFSET`.',
  },
  CANNOT_LOCK: {
    exit: 69,
    meaning: 'No driver in use can lock this.',
    remedy: 'Choose a driver that can (--driver), or accept the danger with --allow-unlocked.',
  },
  DRIVER_UNKNOWN: {
    exit: 69,
    meaning: 'There is no driver of that name.',
    remedy: 'See `holdfast drivers`.',
  },
  DRIVER_UNSAFE: {
    exit: 77,
    meaning: 'A driver stands where others could change it, so it is not loaded.',
    remedy: 'Make the file and its folders writable by their owner alone.',
  },
  DRIVER_BROKEN: {
    exit: 69,
    meaning: 'A driver does not keep the contract.',
    remedy: 'Run the conformance suite on it (docs/drivers.md).',
  },
  DRIVER_FAILED: {
    exit: 69,
    meaning: 'A driver or the lock technology behind it failed.',
    remedy: 'See the cause; nothing was locked.',
  },
  NO_RECORD: {
    exit: 69,
    meaning: 'The locks could be had, but not be recorded, so they were given back.',
    remedy: 'Make room in the runtime directory, or name another with HOLDFAST_RUNTIME_DIR.',
  },
  UNSUPPORTED: {
    exit: 69,
    meaning: 'The driver cannot do this.',
    remedy: 'See what it can with `holdfast drivers`.',
  },
  LOST: {
    exit: 74,
    meaning: 'A lock that was held can no longer be guaranteed.',
    remedy: 'Stop the guest, then start it again.',
  },
  IN_USE: {
    exit: 75,
    meaning: 'Someone else holds or uses it.',
    remedy: 'Stop that, or wait for it with --wait.',
  },
  MOVED: {
    exit: 75,
    meaning: 'What stands behind a path changed between the plan and the lock, again and again.',
    remedy: 'Find out who is renaming the image, and try again.',
  },
  TIMEOUT: {
    exit: 75,
    meaning: 'It was still in use when the time for waiting was over.',
    remedy: 'Wait longer, or stop the holder.',
  },
  ABORTED: {
    exit: 75,
    meaning: 'The caller gave up before the locks were granted; nothing is held.',
    remedy: 'Try again.',
  },
  ENDED: { exit: 70, meaning: 'The hold or the manager has ended already.', remedy: 'Take a new hold.' },
  NOT_PERMITTED: {
    exit: 77,
    meaning: 'Permission is missing.',
    remedy: 'Run as the user who may write the disk; locking for writing needs write permission.',
  },
  CONFIG: { exit: 78, meaning: 'The configuration is wrong.', remedy: 'Mend the setting.' },
  COMMAND_NOT_EXECUTABLE: {
    exit: 126,
    meaning: 'The command is there but cannot be executed.',
    remedy: 'Check its permissions; nothing is locked.',
  },
  COMMAND_NOT_FOUND: {
    exit: 127,
    meaning: 'There is no such command.',
    remedy: 'Check its name and PATH; nothing is locked.',
  },
  INTERNAL: { exit: 70, meaning: 'A bug in Holdfast.', remedy: 'Please report it with the text above.' },
};

export interface ErrorDetails {
  /** The resource as the user wrote it. */
  readonly resource?: string;
  /** The mode that was asked for. */
  readonly mode?: string;
  readonly holders?: readonly Holder[];
  readonly place?: Place;
  /** Of a driver's `CONFIG`: the key in `[driver.NAME]` that is wrong. The manager adds where it stands. */
  readonly setting?: string;
  /** What to do, in words; without it the code's own remedy. */
  readonly remedy?: string;
  /** Whether the same call can succeed later with nothing changed by the caller. */
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

const brand = Symbol.for('holdfast.error');
const retryableCodes: readonly ErrorCode[] = [
  'IN_USE',
  'MOVED',
  'TIMEOUT',
  'ABORTED',
  'CLUSTER_UNREACHABLE',
  'CLUSTER_NO_QUORUM',
];

/**
 * What every function of Holdfast throws.
 * `message` says what, where and why; `remedy` what to do; `code` is stable; `exitCode` is the command's.
 */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly exitCode: number;
  readonly resource: string | undefined;
  readonly mode: string | undefined;
  readonly holders: readonly Holder[];
  readonly place: Place | undefined;
  readonly setting: string | undefined;
  readonly remedy: string;
  readonly retryable: boolean;
  /** Marks the class across two copies of this package in one process. */
  readonly [brand] = true;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.exitCode = errorCodes[code].exit;
    this.resource = details.resource;
    this.mode = details.mode;
    this.holders = details.holders ?? [];
    this.place = details.place;
    this.setting = details.setting;
    this.remedy = details.remedy ?? errorCodes[code].remedy;
    this.retryable = details.retryable ?? retryableCodes.includes(code);
  }

  /** The error as data: all that the text has. */
  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      exitCode: this.exitCode,
      retryable: this.retryable,
      remedy: this.remedy,
      ...(this.resource === undefined ? {} : { resource: this.resource }),
      ...(this.mode === undefined ? {} : { mode: this.mode }),
      ...(this.place === undefined ? {} : { place: this.place }),
      ...(this.setting === undefined ? {} : { setting: this.setting }),
      holders: this.holders,
      ...(this.cause === undefined ? {} : { cause: causeText(this.cause) }),
    };
  }
}

/** Whether a value is an error of this project, also of another copy of it. */
export function isHoldfastError(value: unknown, code?: ErrorCode): value is HoldfastError {
  return (
    value instanceof Error &&
    (value as { [brand]?: boolean })[brand] === true &&
    (code === undefined || (value as HoldfastError).code === code)
  );
}

/** One line for the cause of an error, whatever was thrown. */
export function causeText(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/**
 * A program: serves one file over FUSE from another one, one request after another, past the page cache. Arguments: the file behind it,
 * and the one over which it mounts itself. It says `serving` when it does. (linux/fuse.h; root.)
 *
 * Not qemu-storage-daemon: with several requests at once that of QEMU 7.2 was seen to give back other bytes than had been written.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { argv, exit, stdout } from 'node:process';
import { libcFunction, systemError } from '../../src/system/libc.js';
import { mapFile } from '../../src/system/mapped-file.js';
import { newMemoryFile } from '../../src/system/memory-file.js';

const [, , source = '', path = ''] = argv;
const mount = libcFunction<[source: string, target: string, type: string, flags: bigint, data: string]>(
  'int mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data)',
);
const noSuidNoDev = 6n;
/** `struct fuse_in_header`, `struct fuse_write_in`, `struct fuse_out_header`. */
const [inBytes, writeInBytes, outBytes] = [40, 40, 16];
const dataBytesMax = 128 * 1024;
const sectorBytes = 512;
const opcodes = {
  forget: 2,
  getattr: 3,
  open: 14,
  read: 15,
  write: 16,
  init: 26,
  interrupt: 36,
  forgets: 42,
};
const [ENOENT, ENODEV, ENOSYS] = [2, 19, 38];
const FOPEN_DIRECT_IO = 1;

const file = openSync(source, constants.O_RDWR | constants.O_DIRECT | constants.O_DSYNC);
const { size } = fstatSync(file);
const device = openSync('/dev/fuse', constants.O_RDWR);
if (
  mount('holdfast-test', path, 'fuse', noSuidNoDev, `fd=${device},rootmode=100000,user_id=0,group_id=0`) !== 0
) {
  throw systemError('mount');
}
stdout.write('serving\n');

// O_DIRECT wants memory that begins at a sector: mapped memory begins at a page.
const memory = newMemoryFile('holdfast-test');
const { bytes: aligned } = mapFile(memory, dataBytesMax);
closeSync(memory);
const data = Buffer.from(aligned.buffer, aligned.byteOffset, dataBytesMax);
const request = Buffer.alloc(dataBytesMax + 2 * 4096);

/** The body of an answer, or an errno; undefined: none is wanted. */
function answer(opcode: number, body: Buffer): Buffer | number | undefined {
  switch (opcode) {
    case opcodes.init: {
      const out = Buffer.alloc(64);
      out.writeUInt32LE(7, 0);
      out.writeUInt32LE(31, 4);
      out.writeUInt32LE(dataBytesMax, 8);
      out.writeUInt32LE(dataBytesMax, 20);
      return out;
    }
    case opcodes.getattr: {
      const out = Buffer.alloc(104);
      const attr = out.subarray(16);
      attr.writeBigUInt64LE(1n, 0);
      attr.writeBigUInt64LE(BigInt(size), 8);
      attr.writeBigUInt64LE(BigInt(size / sectorBytes), 16);
      attr.writeUInt32LE(0o100666, 60);
      attr.writeUInt32LE(1, 64);
      attr.writeUInt32LE(4096, 80);
      return out;
    }
    case opcodes.open: {
      const out = Buffer.alloc(16);
      out.writeUInt32LE(FOPEN_DIRECT_IO, 8);
      return out;
    }
    case opcodes.read: {
      const bytes = readSync(file, data, 0, body.readUInt32LE(16), Number(body.readBigUInt64LE(8)));
      return data.subarray(0, bytes);
    }
    case opcodes.write: {
      const bytes = body.readUInt32LE(16);
      body.copy(data, 0, writeInBytes, writeInBytes + bytes);
      const out = Buffer.alloc(8);
      out.writeUInt32LE(writeSync(file, data, 0, bytes, Number(body.readBigUInt64LE(8))), 0);
      return out;
    }
    case opcodes.forget:
    case opcodes.forgets:
    case opcodes.interrupt:
      return undefined;
    default:
      return ENOSYS;
  }
}

for (;;) {
  let length: number;
  try {
    length = readSync(device, request);
  } catch (error) {
    const { errno = 0 } = error as NodeJS.ErrnoException;
    if (errno === -ENODEV) exit(0); // It was unmounted.
    if (errno === -ENOENT) continue; // Whoever asked has given up.
    throw error;
  }
  const reply = answer(request.readUInt32LE(4), request.subarray(inBytes, length));
  if (reply === undefined) continue;
  const body = typeof reply === 'number' ? Buffer.alloc(0) : reply;
  const head = Buffer.alloc(outBytes);
  head.writeUInt32LE(outBytes + body.length, 0);
  head.writeInt32LE(typeof reply === 'number' ? -reply : 0, 4);
  request.copy(head, 8, 8, 16);
  try {
    writeSync(device, Buffer.concat([head, body]));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).errno !== -ENOENT) throw error;
  }
}

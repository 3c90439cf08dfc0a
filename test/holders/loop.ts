/** Loop devices for tests, which need root. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import type { TestContext } from 'node:test';

/** Attaches a file with its partitions, until the test is over; gives the device node. */
export function attachLoop(t: TestContext, path: string): string {
  const device = execFileSync('losetup', ['--find', '--show', '--partscan', path], {
    encoding: 'utf8',
  }).trim();
  t.after(() => execFileSync('losetup', ['--detach', device]));
  return device;
}

const sectorBytes = 512;

/** An 8 MiB image with a DOS partition table of two partitions of 2 MiB. */
export function partitionedImage(path: string): void {
  const image = Buffer.alloc(8 << 20);
  for (const [index, startSector] of [2048, 8192].entries()) {
    const entry = 446 + 16 * index;
    image.writeUInt8(0x83, entry + 4);
    image.writeUInt32LE(startSector, entry + 8);
    image.writeUInt32LE((2 << 20) / sectorBytes, entry + 12);
  }
  image.writeUInt16LE(0xaa55, 510);
  writeFileSync(path, image);
}

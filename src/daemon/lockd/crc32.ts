/** The checksum of gzip and PNG (ISO 3309). Node has it since 22 only (zlib.crc32). */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  return value;
});

export function crc32(bytes: Buffer, start: number, end: number): number {
  let value = 0xffffffff;
  for (let at = start; at < end; at++) {
    value = (value >>> 8) ^ (table[(value ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
  }
  return ~value >>> 0;
}

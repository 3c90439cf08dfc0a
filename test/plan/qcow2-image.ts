/** qcow2 headers made by hand, so that they can be wrong in every way. */
export interface Crafted {
  version?: number;
  clusterBits?: number;
  headerBytes?: number;
  incompatible?: bigint;
  extensions?: readonly { type: number; data: Buffer; length?: number }[];
  name?: string;
  nameOffset?: bigint;
  nameBytes?: number;
  /** Cuts the image off. */
  bytes?: number;
}

export const backingFormat = 0xe2792aca;
export const dataFile = 0x44415441;

export function craftQcow2(crafted: Crafted = {}): Buffer {
  const version = crafted.version ?? 3;
  const headerBytes = crafted.headerBytes ?? (version === 3 ? 104 : 72);
  const image = Buffer.alloc(65536);
  image.writeUInt32BE(0x514649fb, 0);
  image.writeUInt32BE(version, 4);
  image.writeUInt32BE(crafted.clusterBits ?? 16, 20);
  image.writeBigUInt64BE(1n << 20n, 24);
  let offset = version === 3 ? 104 : 72;
  if (version === 3) {
    image.writeBigUInt64BE(crafted.incompatible ?? 0n, 72);
    image.writeUInt32BE(headerBytes, 100);
  }
  for (const { type, data, length } of crafted.extensions ?? []) {
    image.writeUInt32BE(type, offset);
    image.writeUInt32BE(length ?? data.length, offset + 4);
    data.copy(image, offset + 8);
    offset += 8 + Math.ceil(data.length / 8) * 8;
  }
  offset += 8;
  if (crafted.name !== undefined || crafted.nameOffset !== undefined) {
    const name = Buffer.from(crafted.name ?? '');
    name.copy(image, offset);
    image.writeBigUInt64BE(crafted.nameOffset ?? BigInt(offset), 8);
    image.writeUInt32BE(crafted.nameBytes ?? name.length, 16);
  }
  return image.subarray(0, crafted.bytes ?? image.length);
}

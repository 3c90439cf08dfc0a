/** A test compares it with package.json, which is not read at a start. */
export const version = '0.1.0';
